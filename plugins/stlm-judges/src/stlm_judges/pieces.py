"""Sounds as recognisers take them: at their rate, none longer than they bear, cut where it is quietest; no silence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stlm.audio import resample
from stlm.errors import DataError
from stlm.learn.sounds import AUDIBLE
from stlm.types import Audio

WINDOW = 0.02  # seconds over which loudness is measured
SEARCHED = 1 / 3  # of a piece, its end, in which the quietest place is sought

Read = Callable[[Sequence[np.ndarray]], Sequence[str]]
"""Transcribes sounds ``float32[N]``, none of them silent."""


def transcribe_pieces(batch: Sequence[Audio], read: Read, *, sample_rate: int, longest: float) -> list[str]:
    """One text per sound, read in pieces; silence has none.

    Args:
        batch: sounds of any length and rate.
        read: transcribes pieces.
        sample_rate: of the pieces.
        longest: piece, in seconds.

    Raises:
        DataError: a sound holds samples that are not finite.
    """
    pieces = [(index, piece) for index, audio in enumerate(batch) for piece in _pieces(audio, sample_rate, longest)]
    texts: list[list[str]] = [[] for _ in batch]
    if pieces:
        found = read([piece for _, piece in pieces])
        for (index, _), text in zip(pieces, found, strict=True):
            texts[index].append(text)
    return [" ".join(" ".join(parts).split()) for parts in texts]


def _pieces(audio: Audio, sample_rate: int, longest: float) -> list[np.ndarray]:
    if not np.isfinite(audio.samples).all():
        raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
    found = cut_at_pauses(resample(audio, sample_rate).samples, sample_rate, longest)
    return [piece for piece in found if np.abs(piece).max(initial=0.0) >= AUDIBLE]


def cut_at_pauses(samples: np.ndarray, sample_rate: int, longest: float) -> list[np.ndarray]:
    """Pieces of ``float32[N]`` that join to the whole."""
    most, window = int(longest * sample_rate), int(WINDOW * sample_rate)
    pieces: list[np.ndarray] = []
    while len(samples) > most:
        first = int(most * (1 - SEARCHED))
        rows = (most - first) // window
        loudness = np.square(samples[first : first + rows * window]).reshape(rows, window).sum(1)
        cut = first + int(loudness.argmin()) * window + window // 2
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]
