"""An utterance: text, speech or both, with word times and units, all on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from stlm.errors import DataError
from stlm.types.audio import Audio, AudioRef
from stlm.types.units import TextUnits, Units

Seconds: TypeAlias = float
MAX_CODE = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One spoken word.

    Args:
        text: the word as it stands in the text, without surrounding punctuation.
        start, end: samples on the utterance's audio clock, half-open.
        char_start, char_end: place in the utterance's text, so that case and punctuation survive.
        score: the aligner's confidence in [0, 1], or None where times are exact or unknown.
    """

    text: str
    start: int
    end: int
    char_start: int
    char_end: int
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A piece of text, of speech, or of speech with its transcript. Immutable.

    Args:
        id: unique within its corpus.
        audio: samples, a reference to a file, or None for text-only documents.
        text: the transcript or document, or None for speech without transcript.
        words: word times in order, without overlap; empty where there is no alignment.
        streams: units by stream name, each covering the whole utterance.
        text_units: the whole text's subword ids where they were prepared beforehand.
        speaker: speaker label.
        labels: what classifiers learn ("emotion", "topic").
        meta: anything else worth keeping, as text.

    Raises:
        DataError: a word lies outside the audio or text, or words overlap or are out of order.
    """

    id: str
    audio: Audio | AudioRef | None = None
    text: str | None = None
    words: tuple[Word, ...] = ()
    streams: Mapping[str, Units] = field(default_factory=dict[str, Units])
    text_units: TextUnits | None = None
    speaker: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    meta: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.words:
            check_words(self.id, self.words, self.text, self.audio)

    @property
    def has_speech(self) -> bool:
        return bool(self.streams)

    def with_streams(self, streams: Mapping[str, Units]) -> Utterance:
        return replace(self, streams={**self.streams, **streams})

    def slice(self, first_word: int, last_word: int) -> dict[str, Units]:
        """All streams of words ``first_word:last_word``, cut on one clock.

        A frame belongs to the word that contains its midpoint; frames in no word join the previous word and leading
        frames the first, so that consecutive slices are a disjoint cover of the utterance with nothing lost.
        """
        return {
            name: units.cut(*self._frame_range(units, first_word, last_word)) for name, units in self.streams.items()
        }

    def _frame_range(self, units: Units, first_word: int, last_word: int) -> tuple[int, int]:
        return self._first_frame(units, first_word), self._first_frame(units, last_word)

    def _first_frame(self, units: Units, word: int) -> int:
        if word == 0:
            return 0
        if word >= len(self.words):
            return len(units)
        return min(frame_at(self.words[word].start, self._sample_rate(), units), len(units))

    def _sample_rate(self) -> int:
        if self.audio is None:
            raise DataError(f"{self.id}: words need the audio's sample rate, but the utterance has no audio")
        return self.audio.sample_rate


def frame_at(sample: int, sample_rate: int, units: Units) -> int:
    """Index of the first frame whose midpoint is not before `sample`; exact in integers.

    Frame i has its midpoint at ``(2 i + 1) * hop / (2 * spec.sample_rate)`` seconds.
    """
    spec = units.spec
    numerator = 2 * sample * spec.sample_rate - spec.hop * sample_rate
    denominator = 2 * spec.hop * sample_rate
    return max(0, -(-numerator // denominator) - units.start)


def check_words(id: str, words: tuple[Word, ...], text: str | None, audio: Audio | AudioRef | None) -> None:
    """Raise DataError where word times leave the audio, overlap, or point outside the text."""
    limit = audio.num_samples if audio is not None else None
    previous_end = previous_char = 0
    for word in words:
        if word.start < previous_end:
            raise DataError(
                f"{id}: word {word.text!r} starts at sample {word.start}, before the previous word ends "
                f"({previous_end}): word times must be in order and must not overlap"
            )
        if word.end < word.start or (limit is not None and word.end > limit):
            raise DataError(
                f"{id}: word {word.text!r} covers samples {word.start}..{word.end}, "
                f"expected an interval within 0..{limit}: check the alignment's time unit"
            )
        if text is not None and not 0 <= word.char_start <= word.char_end <= len(text):
            raise DataError(
                f"{id}: word {word.text!r} points at characters {word.char_start}..{word.char_end} "
                f"of a text of {len(text)}"
            )
        if text is not None and word.char_end < previous_char:
            raise DataError(
                f"{id}: word {word.text!r} ends at character {word.char_end}, before the previous word "
                f"({previous_char}): words must be in the order of the text"
            )
        previous_end, previous_char = word.end, word.char_end


def text_boundaries(text: str, words: tuple[Word, ...]) -> list[int]:
    """Cut points ``b[0..len(words)]`` of the text: word k owns ``text[b[k]:b[k+1]]``.

    A word owns the space before it and the punctuation after it, so that the pieces join to the text with nothing lost.
    """
    cuts = [0]
    for word, following in pairwise(words):
        cut = word.char_end
        while cut < following.char_start and not text[cut].isspace():
            cut += 1
        cuts.append(cut)
    return [*cuts, len(text)] if words else [0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An input that could not be used, or only in part; preparation writes it to the quarantine list.

    Args:
        id: of the utterance, or the file's name.
        reason: one line: what, got, expected, how to mend.
        uri: the file.
        kept_as: what could still be used ("speech without text"); None if nothing could. The source then yields the
            usable utterance as well.
    """

    id: str
    reason: str
    uri: str | None = None
    kept_as: str | None = None


def as_codes(values: object) -> np.ndarray:
    """``uint16[T, K]`` from whole numbers; a flat sequence becomes K = 1.

    Raises:
        DataError: a value is no whole number within 0..65535, or the rows differ in length.
    """
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise DataError("codes must be one number, or one row of equal length, per frame; got ragged rows") from error
    if found.ndim not in (1, 2) or not _fit_uint16(found):
        shown = " ".join(str(values).split())[:60]
        raise DataError(f"codes must be whole numbers within 0..{MAX_CODE}, in a list or a table, got {shown}")
    codes = found.astype(np.uint16)
    return codes[:, None] if codes.ndim == 1 else codes


def _fit_uint16(values: np.ndarray) -> bool:
    if values.dtype == np.uint16 or not values.size:
        return True
    if values.dtype.kind not in "iuf":
        return False
    return bool(np.all((values >= 0) & (values <= MAX_CODE) & (np.floor(values) == values)))
