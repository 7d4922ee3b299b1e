"""`CtcAligner`: when each word of a known text is said, by the likeliest path of its characters (Viterbi).

The words are those of the text as it stands, with case, numbers and inner punctuation. Characters that the recogniser
does not know are passed over; a word of such characters alone ("1984", for a recogniser of letters) takes its share of
the time between its neighbours.

A network trained by CTC tells a character some time after it began. How late it tells the first and the last of a word
is measured by the recipe where held-out recordings have word times, and taken off here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torchaudio.functional import forced_align

from stlm.errors import DataError, FormatError
from stlm.interfaces import Aligner
from stlm.learn.error_rates import is_letter, normalize
from stlm.types import Audio, Word
from stlm_ctc.recogniser import BLANK, Config, Recogniser, load_recogniser
from stlm_ctc.transcribed import Transcribed, frames_needed

SPACE = " "
JOINERS = "'’-.,"  # stand inside a word: don't, twenty-one, U.S.A, 3,000
MOST_CELLS = 1 << 30  # frames times symbols: one byte each while the path is sought
"""About 13 minutes of speech at 50 frames a second."""


def build(config: Config) -> CtcAligner:
    return CtcAligner(load_recogniser(config.path, config.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A word of the text and the symbols that the recogniser knows it by.

    Args:
        char_start, char_end: its place in the text.
        symbols: empty where it knows none of its characters.
    """

    char_start: int
    char_end: int
    symbols: tuple[int, ...]


class CtcAligner(Aligner):
    """Word times of a text that is spoken in the audio."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self._lateness = _lateness_in(recogniser)

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        words = [Spoken(char_start=a, char_end=b, symbols=self._symbols(text[a:b])) for a, b in words_of(text)]
        known = [word for word in words if word.symbols]
        if not known:
            raise DataError(
                f"{text[:40]!r} cannot be aligned: it holds no character that the recogniser knows, expected some of "
                f"{''.join(self.recogniser.alphabet)!r}"
            )
        (emission,) = self.recogniser.emissions([audio])
        spans, scores = self._path(emission, known)
        times = self._times(spans, words, audio)
        given = iter(scores.tolist())
        return tuple(
            Word(
                text=text[word.char_start : word.char_end],
                start=start,
                end=end,
                char_start=word.char_start,
                char_end=word.char_end,
                score=next(given) if word.symbols else None,
            )
            for word, (start, end) in zip(words, times, strict=True)
        )

    def _symbols(self, word: str) -> tuple[int, ...]:
        known = self.recogniser.symbols
        return tuple(known[letter] for letter in normalize(word) if letter in known and letter != SPACE)

    def _path(self, emission: torch.Tensor, words: Sequence[Spoken]) -> tuple[np.ndarray, np.ndarray]:
        """First and last frame of each word, ``int64[W, 2]`` half-open, and its score, ``float64[W]``.

        Raises:
            DataError: the text has more symbols than the audio has frames, or both are too long to align at once.
        """
        targets, owners = self._targets(words)
        needed, frames = frames_needed(targets), len(emission)
        seconds = frames * self.recogniser.hop / self.recogniser.sample_rate
        if frames < needed:
            raise DataError(
                f"{len(words)} words cannot be aligned to {seconds:.2f} s of "
                f"audio: {needed} frames are needed, got {frames}; check that the text is what is said"
            )
        if frames * (2 * len(targets) + 1) > MOST_CELLS:
            raise DataError(
                f"{frames} frames and {len(targets)} characters are too many to align at once: cut the recording into "
                "pieces of at most ten minutes"
            )
        symbols, scores = forced_align(emission[None], torch.tensor([targets], dtype=torch.int32), blank=BLANK)
        spans, found = np.zeros((len(words), 2), np.int64), np.zeros(len(words))
        counts = np.zeros(len(words))
        for place, (start, end) in zip(owners, _runs(symbols[0].numpy()), strict=True):
            if place is None:
                continue
            if not counts[place]:
                spans[place, 0] = start
            spans[place, 1] = end
            counts[place] += end - start
            found[place] += float(scores[0, start:end].exp().sum())
        return spans, np.clip(found / counts, 0, 1)

    def _targets(self, words: Sequence[Spoken]) -> tuple[list[int], list[int | None]]:
        """Symbols of the whole text, and the word that each belongs to; spaces stand between words."""
        space = self.recogniser.symbols.get(SPACE)
        targets: list[int] = []
        owners: list[int | None] = []
        for place, word in enumerate(words):
            if place and space is not None:
                targets.append(space)
                owners.append(None)
            targets.extend(word.symbols)
            owners.extend([place] * len(word.symbols))
        return targets, owners

    def _times(self, spans: np.ndarray, words: Sequence[Spoken], audio: Audio) -> list[tuple[int, int]]:
        """Samples of each word, with those between known words filled in."""
        known = np.array([bool(word.symbols) for word in words])
        weights = np.array([word.char_end - word.char_start for word in words])
        seconds = spans * self.recogniser.hop / self.recogniser.sample_rate - self._lateness
        edges = np.zeros((len(words), 2))
        edges[known] = _in_order(seconds) * audio.sample_rate
        for first, last in _runs(np.where(known, 0, 1)):
            start = edges[first - 1, 1] if first else 0.0
            end = edges[last, 0] if last < len(words) else float(audio.num_samples)
            cuts = (
                start + (end - start) * np.concatenate([[0], weights[first:last].cumsum()]) / weights[first:last].sum()
            )
            edges[first:last] = np.stack([cuts[:-1], cuts[1:]], 1)
        samples = edges.round().astype(np.int64).clip(0, audio.num_samples)
        return [(int(start), int(end)) for start, end in samples]


def _lateness_in(recogniser: Recogniser) -> np.ndarray:
    """``float64[2]``: seconds by which starts and ends of words are late."""
    found = recogniser.notes.get("lateness", [0.0, 0.0])
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(value, float) for value in found):
        raise FormatError(f"the recogniser's lateness must be two numbers of seconds, got {found!r}: train it again")
    return np.array(found)


def _in_order(edges: np.ndarray) -> np.ndarray:
    """Starts and ends ``float64[W, 2]`` with words that overlap parted in the middle."""
    edges = edges.copy()
    overlap = edges[:-1, 1] > edges[1:, 0]
    middle = (edges[:-1, 1] + edges[1:, 0]) / 2
    edges[:-1, 1][overlap] = edges[1:, 0][overlap] = middle[overlap]
    return np.maximum.accumulate(edges.reshape(-1)).reshape(-1, 2)


def measure_lateness(recogniser: Recogniser, data: Transcribed) -> list[float] | None:
    """Medians over the words of recordings with word times, of start and end, in seconds; None where none has any."""
    aligner = CtcAligner(recogniser)
    late: list[tuple[float, float]] = []
    for place, utterance in enumerate(data.recordings.utterances):
        if not utterance.words or utterance.audio is None:
            continue
        audio = Audio(samples=data.recordings[place], sample_rate=recogniser.sample_rate)
        try:
            found = {word.char_start: word for word in aligner.align(audio, utterance.text or "")}
        except DataError:
            continue
        scale = recogniser.sample_rate / utterance.audio.sample_rate
        for word in utterance.words:
            if (got := found.get(word.char_start)) is not None and got.text == word.text:
                late.append((got.start - word.start * scale, got.end - word.end * scale))
    return (np.median(late, axis=0) / recogniser.sample_rate).round(4).tolist() if late else None


def words_of(text: str) -> list[tuple[int, int]]:
    """Places of the words: runs of letters and digits, with single signs inside them that belong to a word."""
    kinds = "".join("w" if is_letter(sign) or sign.isnumeric() else "j" if sign in JOINERS else " " for sign in text)
    return [match.span() for match in re.finditer(r"w+(?:jw+)*", kinds)]


def _runs(path: np.ndarray) -> list[tuple[int, int]]:
    """Half-open stretches of one symbol each, blanks left out."""
    edges = np.flatnonzero(np.diff(path)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(path)]])
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if path[a] != BLANK]
