"""Resampling keeps what can be kept."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from stlm.audio import resample
from stlm.errors import DataError
from stlm.types import Audio


def tone(rate: int, hertz: float = 440.0, seconds: float = 1.0) -> Audio:
    time = np.arange(int(rate * seconds)) / rate
    return Audio(samples=np.sin(2 * np.pi * hertz * time).astype(np.float32), sample_rate=rate)


def test_equal_rate_returns_the_same_object() -> None:
    audio = tone(16000)
    assert resample(audio, 16000) is audio


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (8000, 16000), (16000, 24000)])
def test_a_tone_stays_the_same_tone(source: int, target: int) -> None:
    got = resample(tone(source), target)
    assert got.sample_rate == target
    assert got.samples.dtype == np.float32
    assert got.num_samples == target
    inside = slice(target // 10, -target // 10)
    np.testing.assert_allclose(got.samples[inside], tone(target).samples[inside], atol=1e-3)


def test_nothing_above_half_the_new_rate_is_left() -> None:
    got = resample(tone(16000, hertz=6000.0), 8000)
    assert np.abs(got.samples[400:-400]).max() < 1e-3


def test_no_samples_stay_no_samples() -> None:
    assert resample(Audio(samples=np.zeros(0, np.float32), sample_rate=8000), 16000).num_samples == 0


def test_a_rate_that_is_not_positive_is_an_error() -> None:
    with pytest.raises(DataError, match="must be positive"):
        resample(tone(16000), 0)


def test_audio_needs_no_torch() -> None:
    code = "import stlm.audio, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
