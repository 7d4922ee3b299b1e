"""Words come at their times, whatever stands in the text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import DataError, FormatError
from stlm.learn import ctc_alignment
from stlm.types import Audio, Utterance
from stlm_ctc.aligner import CtcAligner
from stlm_ctc.recogniser import Recogniser, load_recogniser

Sing = Callable[..., Utterance]


@pytest.fixture(scope="module")
def aligner(recogniser: Recogniser) -> CtcAligner:
    return CtcAligner(recogniser)


def test_words_are_found_where_they_are_sung(aligner: CtcAligner, sing: Sing) -> None:
    song = sing("Dab, a bad cab!", seed=50)
    found = aligner.align(song.audio, song.text)
    assert [word.text for word in found] == [word.text for word in song.words]
    for got, true in zip(found, song.words, strict=True):
        assert abs(got.start - true.start) <= 0.06 * 16000
        assert abs(got.end - true.end) <= 0.06 * 16000


def test_times_are_on_the_clock_of_the_audio(aligner: CtcAligner, sing: Sing) -> None:
    song = sing("bad cab")
    half = Audio(samples=np.ascontiguousarray(song.audio.samples[::2]), sample_rate=8000)
    for fine, coarse in zip(aligner.align(song.audio, song.text), aligner.align(half, song.text), strict=True):
        assert coarse.start == pytest.approx(fine.start / 2, abs=400)


def test_words_without_known_characters_share_the_time_between_their_neighbours(
    aligner: CtcAligner, sing: Sing
) -> None:
    song = sing("bad     cab")
    before, one, two, after = aligner.align(song.audio, "bad 12 345 cab")
    assert before.end == one.start <= one.end == two.start <= two.end == after.start
    assert (one.end - one.start) / (two.end - two.start) == pytest.approx(2 / 3, rel=0.1)
    assert one.score is None and before.score is not None


def test_unknown_characters_are_passed_over(aligner: CtcAligner, sing: Sing) -> None:
    song = sing("bad cab")
    plain, strange = aligner.align(song.audio, "bad cab"), aligner.align(song.audio, "bzad… «cxab»")
    assert [word.text for word in strange] == ["bzad", "cxab"]
    assert [(word.start, word.end) for word in strange] == [(word.start, word.end) for word in plain]


def test_text_that_says_something_else_scores_lower(aligner: CtcAligner, sing: Sing) -> None:
    song = sing("bad cab")
    right, wrong = (
        np.mean([word.score for word in aligner.align(song.audio, text)]) for text in ("bad cab", "cab dda")
    )
    assert right > wrong + 0.2


def test_lateness_that_was_measured_is_taken_off(trained: Path, recogniser: Recogniser, sing: Sing) -> None:
    song = sing("dab a cab bad", seed=60)
    late = load_recogniser(trained)
    late.notes["lateness"] = [0.0, 0.0]
    plain, mended = (CtcAligner(item).align(song.audio, song.text) for item in (late, recogniser))
    off = [
        np.mean([abs(got.start - word.start) for got, word in zip(found, song.words, strict=True)])
        for found in (plain, mended)
    ]
    assert off[1] <= off[0]
    late.notes["lateness"] = [100.0, -100.0]
    words = CtcAligner(late).align(song.audio, song.text)
    assert all(0 <= one.start <= one.end <= two.start for one, two in pairwise(words))
    late.notes["lateness"] = "much"
    with pytest.raises(FormatError, match="two numbers"):
        CtcAligner(late)


def test_what_cannot_be_aligned_is_a_data_error(
    aligner: CtcAligner, sing: Sing, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = sing("a").audio
    with pytest.raises(DataError, match="no character that the recogniser knows"):
        aligner.align(audio, "12 xyz")
    with pytest.raises(DataError, match=r"frames are needed, got"):
        aligner.align(audio, "a bad cab " * 20)
    monkeypatch.setattr(ctc_alignment, "MOST_CELLS", 10)
    with pytest.raises(DataError, match="cut the recording"):
        aligner.align(audio, "a")
