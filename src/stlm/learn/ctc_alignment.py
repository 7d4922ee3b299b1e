"""When each word of a known text is said, from the log-probabilities of a network trained by CTC.

`align_by_ctc` finds the likeliest path of the text's symbols (Viterbi, `torchaudio.functional.forced_align`), and gives
words that have no symbol ("1984", for a network of letters) their share of the time between their neighbours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torchaudio.functional import forced_align

from stlm.errors import DataError
from stlm.learn.error_rates import is_letter
from stlm.types import Audio, Word

JOINERS = "'’-.,"  # stand inside a word: don't, twenty-one, U.S.A, 3,000
MOST_CELLS = 1 << 30  # frames times symbols: one byte each while the path is sought
"""About 13 minutes of speech at 50 frames a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpelledWord:
    """A word of the text and what a recogniser knows it by: symbols of a network, or entries of a dictionary.

    Args:
        char_start, char_end: its place in the text.
        symbols: empty where the recogniser does not know it.
    """

    char_start: int
    char_end: int
    symbols: tuple[int | str, ...]


def words_of(text: str) -> list[tuple[int, int]]:
    """Places of the words: runs of letters and digits, with single signs inside them that belong to a word."""
    kinds = "".join("w" if is_letter(sign) or sign.isnumeric() else "j" if sign in JOINERS else " " for sign in text)
    return [match.span() for match in re.finditer(r"w+(?:jw+)*", kinds)]


def symbols_in(word: str, known: Mapping[str, int]) -> tuple[int, ...]:
    """The symbols of a word's characters, in whichever case is known; others are passed over."""
    plain = unicodedata.normalize("NFC", word.replace("’", "'"))
    found = (next((known[c] for c in (sign, sign.lower(), sign.upper()) if c in known), None) for sign in plain)
    return tuple(symbol for symbol in found if symbol is not None)


def spelled(text: str, spell: Callable[[str], tuple[int, ...]], known: Iterable[str]) -> list[SpelledWord]:
    """The words of a text with their symbols.

    Args:
        text: as it stands.
        spell: the symbols of a word.
        known: what the network can spell, for the message.

    Raises:
        DataError: no word has any symbol.
    """
    words = [SpelledWord(char_start=a, char_end=b, symbols=spell(text[a:b])) for a, b in words_of(text)]
    if not any(word.symbols for word in words):
        raise DataError(
            f"{text[:40]!r} cannot be aligned: it holds no character that the recogniser knows, expected some of "
            f"{''.join(sorted(known))[:80]!r}"
        )
    return words


def frames_needed(symbols: Sequence[object]) -> int:
    """Frames that CTC needs for a text: one a symbol, and a blank between two that are equal."""
    return len(symbols) + sum(one == two for one, two in pairwise(symbols))


def align_by_ctc(
    emission: torch.Tensor,
    words: Sequence[SpelledWord],
    audio: Audio,
    text: str,
    *,
    seconds_per_frame: float,
    blank: int = 0,
    space: int | None = None,
    lateness: np.ndarray | None = None,
) -> tuple[Word, ...]:
    """The words of `text` with their samples in `audio`, in order and without overlap.

    Args:
        emission: log-probabilities ``float32[T, V]`` of the audio.
        words: of the text, in its order; at least one has symbols, and none of them is `blank`.
        audio: whose clock the times are on.
        text: the words' own.
        seconds_per_frame: of the emission.
        blank: CTC's symbol for nothing.
        space: the symbol between words, where the network has one.
        lateness: ``float64[2]``, seconds that the network tells starts and ends of words too late.

    Raises:
        DataError: the text has more symbols than the audio has frames, or both are too long to align at once.
    """
    known = [word for word in words if word.symbols]
    spans, scores = _path(emission, known, seconds_per_frame, blank, space)
    seconds = spans * seconds_per_frame - (0.0 if lateness is None else lateness)
    return timed_words(words, seconds, scores, audio, text)


def timed_words(
    words: Sequence[SpelledWord], seconds: np.ndarray, scores: np.ndarray, audio: Audio, text: str
) -> tuple[Word, ...]:
    """The words of a text in order and without overlap; those without symbols share the time between their neighbours.

    Args:
        words: of the text, in its order.
        seconds: ``float64[K, 2]``, start and end of each word that has symbols.
        scores: ``float64[K]``, theirs.
        audio: whose clock the times are on.
        text: the words' own.
    """
    times, given = _times(seconds, words, audio), iter(scores.tolist())
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


def _path(
    emission: torch.Tensor, words: Sequence[SpelledWord], seconds_per_frame: float, blank: int, space: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """First and last frame of each word, ``int64[W, 2]`` half-open, and its score, ``float64[W]``."""
    targets, owners = _targets(words, space)
    needed, frames = frames_needed(targets), len(emission)
    if frames < needed:
        raise DataError(
            f"{len(words)} words cannot be aligned to {frames * seconds_per_frame:.2f} s of "
            f"audio: {needed} frames are needed, got {frames}; check that the text is what is said"
        )
    if frames * (2 * len(targets) + 1) > MOST_CELLS:
        raise DataError(
            f"{frames} frames and {len(targets)} characters are too many to align at once: cut the recording into "
            "pieces of at most ten minutes"
        )
    symbols, scores = forced_align(emission[None], torch.tensor([targets], dtype=torch.int32), blank=blank)
    spans, found = np.zeros((len(words), 2), np.int64), np.zeros(len(words))
    counts = np.zeros(len(words))
    for place, (start, end) in zip(owners, _runs(symbols[0].numpy(), blank), strict=True):
        if place is None:
            continue
        if not counts[place]:
            spans[place, 0] = start
        spans[place, 1] = end
        counts[place] += end - start
        found[place] += float(scores[0, start:end].exp().sum())
    return spans, np.clip(found / counts, 0, 1)


def _targets(words: Sequence[SpelledWord], space: int | None) -> tuple[list[int | str], list[int | None]]:
    """Symbols of the whole text, and the word that each belongs to; spaces stand between words."""
    targets: list[int | str] = []
    owners: list[int | None] = []
    for place, word in enumerate(words):
        if place and space is not None:
            targets.append(space)
            owners.append(None)
        targets.extend(word.symbols)
        owners.extend([place] * len(word.symbols))
    return targets, owners


def _times(seconds: np.ndarray, words: Sequence[SpelledWord], audio: Audio) -> list[tuple[int, int]]:
    """Samples of each word, with those between known words filled in."""
    known = np.array([bool(word.symbols) for word in words])
    weights = np.array([word.char_end - word.char_start for word in words])
    edges = np.zeros((len(words), 2))
    edges[known] = _in_order(seconds) * audio.sample_rate
    for first, last in _runs(np.where(known, 0, 1), 0):
        start = edges[first - 1, 1] if first else 0.0
        end = edges[last, 0] if last < len(words) else float(audio.num_samples)
        cuts = start + (end - start) * np.concatenate([[0], weights[first:last].cumsum()]) / weights[first:last].sum()
        edges[first:last] = np.stack([cuts[:-1], cuts[1:]], 1)
    samples = edges.round().astype(np.int64).clip(0, audio.num_samples)
    return [(int(start), int(end)) for start, end in samples]


def _in_order(edges: np.ndarray) -> np.ndarray:
    """Starts and ends ``float64[W, 2]`` with words that overlap parted in the middle."""
    edges = edges.copy()
    overlap = edges[:-1, 1] > edges[1:, 0]
    middle = (edges[:-1, 1] + edges[1:, 0]) / 2
    edges[:-1, 1][overlap] = edges[1:, 0][overlap] = middle[overlap]
    return np.maximum.accumulate(edges.reshape(-1)).reshape(-1, 2)


def _runs(path: np.ndarray, blank: int) -> list[tuple[int, int]]:
    """Half-open stretches of one symbol each, blanks left out."""
    edges = np.flatnonzero(np.diff(path)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(path)]])
    return [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if path[a] != blank]
