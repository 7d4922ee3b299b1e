"""Where to cut a recording: pure arithmetic on samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from stlm.types import Word

Stretch: TypeAlias = tuple[int, int]
"""First sample, and the one after the last."""


def silences(is_speech: np.ndarray, hop: float, num_samples: int, shortest: float) -> list[Stretch]:
    """Runs of frames without speech that last at least `shortest` samples.

    Args:
        is_speech: ``bool[F]``; frame i begins at sample ``i * hop``.
        num_samples: of the recording, where the last run ends.
    """
    edges = np.flatnonzero(np.diff(is_speech, prepend=True, append=True))
    # the last frame may reach beyond the recording, or by rounding end a sample before it
    samples = [num_samples if edge == len(is_speech) else round(edge * hop) for edge in edges.tolist()]
    runs = zip(samples[::2], samples[1::2], strict=True)
    return [(start, end) for start, end in runs if end - start >= shortest]


def gaps(words: Sequence[Word], num_samples: int) -> list[Stretch]:
    """What lies before, between and after words, where it is nothing too."""
    starts, ends = [word.start for word in words], [word.end for word in words]
    return list(zip([0, *ends], [*starts, num_samples], strict=True))


def without(pauses: Sequence[Stretch], num_samples: int, *, least: int, margin: int) -> list[Stretch]:
    """What is left of a recording without pauses of at least `least` samples, of which `margin` stay on either side."""
    dropped = [pause for pause in pauses if pause[1] - pause[0] >= least]
    starts = [0, *(end - margin for _, end in dropped)]
    ends = [*(start + margin for start, _ in dropped), num_samples]
    # before a pause at the very start, and after one at the end, there is nothing but its margin
    return [(start, end) for start, end in zip(starts, ends, strict=True) if end - start > margin]


def cut(
    stretch: Stretch,
    pauses: Sequence[Stretch],
    *,
    longest: int,
    shortest: int,
    otherwise: Callable[[int, int], int],
) -> list[Stretch]:
    """Pieces that join to the stretch: each ends in the widest pause of its second half.

    Args:
        longest, shortest: samples of a piece; `shortest` is at most half of `longest`.
        otherwise: where to cut between two samples if no pause is there.
    """
    start, end = stretch
    cuts = [start]
    while end - cuts[-1] > longest:
        first, last = cuts[-1] + longest // 2, min(cuts[-1] + longest, end - shortest)
        near = [pause for pause in pauses if pause[0] <= last and pause[1] >= first]
        if near:
            widest = max(near, key=lambda pause: pause[1] - pause[0])
            cuts.append(min(max(sum(widest) // 2, first), last))
        else:
            cuts.append(otherwise(first, last))
    return list(pairwise([*cuts, end]))
