"""The likeliest path of a text through given log-probabilities, its words on the clock of the audio."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stlm.errors import DataError
from stlm.learn import ctc_alignment
from stlm.learn.ctc_alignment import align_by_ctc, frames_needed, spelled, symbols_in, words_of
from stlm.types import Audio, Word

KNOWN = {" ": 1, "a": 2, "b": 3}
AUDIO = Audio(samples=np.zeros(1000, np.float32), sample_rate=1000)
"""One second; the emissions below have ten frames."""


def emission(frames: str, sure: float = 0.97, blank: int = 0) -> torch.Tensor:
    """One symbol a frame, "-" for blank."""
    rows = torch.full((len(frames), 4), (1 - sure) / 3)
    for row, sign in zip(rows, frames, strict=True):
        row[blank if sign == "-" else KNOWN[sign]] = sure
    return rows.log()


def align(frames: str, text: str, **options: object) -> tuple[Word, ...]:
    words = spelled(text, lambda word: symbols_in(word, KNOWN), KNOWN)
    return align_by_ctc(emission(frames), words, AUDIO, text, seconds_per_frame=0.1, **options)  # type: ignore[arg-type]


def times(words: tuple[Word, ...]) -> list[tuple[str, int, int]]:
    return [(word.text, word.start, word.end) for word in words]


@pytest.mark.parametrize(("frames", "space"), [("-a-ab-b-a-", None), ("-a-ab b-a-", 1)])
def test_words_are_where_their_symbols_are(frames: str, space: int | None) -> None:
    found = align(frames, "Aab, ba", space=space)
    assert times(found) == [("Aab", 100, 500), ("ba", 600, 900)]
    assert [(word.char_start, word.char_end) for word in found] == [(0, 3), (5, 7)]


def test_a_sure_network_gives_its_probability_as_score() -> None:
    (word,) = align("---aabb---", "ab")
    assert times((word,)) == [("ab", 300, 700)]
    assert word.score == pytest.approx(0.97)


def test_blank_may_be_any_symbol() -> None:
    words = spelled("ab", lambda word: symbols_in(word, {"a": 0, "b": 2}), "ab")
    rows = torch.full((6, 4), 0.01)
    for row, symbol in zip(rows, (3, 0, 0, 3, 2, 3), strict=True):
        row[symbol] = 0.97
    (word,) = align_by_ctc(rows.log(), words, AUDIO, "ab", seconds_per_frame=0.1, blank=3)
    assert (word.start, word.end) == (100, 500)


def test_words_without_symbols_share_the_gap_by_their_letters() -> None:
    found = align("-aa-----b-", "x a 12 345 b 6")
    assert [(word.start, word.end) for word in found] == [
        (0, 100),
        (100, 300),
        (300, 500),
        (500, 800),
        (800, 900),
        (900, 1000),
    ]
    assert [word.score is None for word in found] == [True, False, True, True, False, True]


def test_lateness_is_taken_off_and_words_that_meet_part_in_the_middle() -> None:
    found = align("-aaa-bbb--", "a b", lateness=np.array([0.15, -0.05]))
    assert times(found) == [("a", 0, 400), ("b", 400, 850)]


def test_what_cannot_be_aligned_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no character that the recogniser knows, expected some of ' ab'"):
        align("----------", "1984 xyz")
    with pytest.raises(DataError, match="11 frames are needed, got 10"):
        align("----------", "aaaaaa")
    monkeypatch.setattr(ctc_alignment, "MOST_CELLS", 10)
    with pytest.raises(DataError, match="cut the recording"):
        align("-a--------", "a")


def test_symbols_are_found_in_either_case() -> None:
    known = {"A": 5, "é": 6, "'": 7}
    assert symbols_in("aÉ’z", known) == (5, 6, 7)
    assert symbols_in("e\u0301", known) == (6,)


def test_equal_neighbours_need_a_frame_between_them() -> None:
    assert [frames_needed(text) for text in ("", "abc", "aab", "aaa")] == [0, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't  twenty-one, 3,000 U.S.A. x", ["don't", "twenty-one", "3,000", "U.S.A", "x"]),
        ("'tis - well…then—go «नमस्ते»", ["tis", "well", "then", "go", "नमस्ते"]),
        ("... - !", []),
    ],
)
def test_words_keep_the_signs_inside_them(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in words_of(text)] == words
