"""The judge's edges: the shortest, the longest, the silent and the broken."""

from __future__ import annotations

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.types import Audio
from stlm_ctc.judge import CtcJudge
from stlm_ctc.recogniser import Recogniser


def audio(samples: np.ndarray) -> Audio:
    return Audio(samples=samples.astype(np.float32), sample_rate=16000)


def test_what_nobody_can_hear_says_nothing(recogniser: Recogniser) -> None:
    hum = 0.5e-4 * np.sin(np.arange(16000) * 0.3)
    assert CtcJudge(recogniser).transcribe([audio(hum)]) == [""]


def test_broken_samples_are_a_data_error(recogniser: Recogniser) -> None:
    with pytest.raises(DataError, match="NaN"):
        CtcJudge(recogniser).transcribe([audio(np.full(1600, np.nan))])


def test_other_rates_are_resampled(recogniser: Recogniser, sing) -> None:
    song = sing("abc cab").audio
    half = Audio(samples=np.ascontiguousarray(song.samples[::2]), sample_rate=8000)
    judge = CtcJudge(recogniser)
    assert judge.transcribe([half])[0].split(" ")[0] == judge.transcribe([song])[0].split(" ")[0] == "abc"


@pytest.mark.slow
def test_twenty_minutes_are_read_as_their_minutes_are(recogniser: Recogniser, sing) -> None:
    minute = np.concatenate([sing("abc cab").audio.samples] * 50)
    text = CtcJudge(recogniser).transcribe([audio(np.concatenate([minute] * 20))])[0]
    assert text.replace(" ", "").count("abccab") > 950
