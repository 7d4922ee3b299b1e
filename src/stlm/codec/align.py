"""The inverse of merging: every stream on the anchor's clock, which is what a vocoder eats."""

from __future__ import annotations

import numpy as np

from stlm.codec.merge import merge
from stlm.errors import DataError
from stlm.types import AlignedUnits, SpeechLayout, SpeechSpan, UnitSpan


def align(span: UnitSpan | SpeechSpan, layout: SpeechLayout) -> AlignedUnits:
    """Hold each stream's last value onto every anchor unit, and fill the start with the first value seen.

    Frame-level spans keep every frame (one frame each); spans of events have durations where their frames are known.
    Streams without any event are left out.

    Raises:
        DataError: the span has no unit of the anchor stream, or none of a lower codebook.
    """
    if isinstance(span, SpeechSpan):
        return _hold(merge(span, layout, dedup=False), layout, frame_level=True)
    return _hold(span, layout, frame_level=False)


def _hold(span: UnitSpan, layout: SpeechLayout, *, frame_level: bool) -> AlignedUnits:
    anchor = layout.anchor
    rows = np.flatnonzero((span.stream == anchor) & (span.codebook == 0))
    if not len(rows):
        raise DataError(
            f"speech without a unit of stream {layout.rules[anchor].stream!r} cannot be spoken: "
            f"got {len(span)} units of other streams"
        )
    streams = {
        rule.stream: held
        for order, rule in enumerate(layout.rules)
        if (held := _held(span, order, rows, is_anchor=order == anchor)) is not None
    }
    return AlignedUnits(streams=streams, durations=_durations(span, rows, frame_level=frame_level))


def _held(span: UnitSpan, order: int, rows: np.ndarray, *, is_anchor: bool) -> np.ndarray | None:
    mine = np.flatnonzero(span.stream == order)
    if not len(mine):
        return None
    width = int(span.codebook[mine].max()) + 1
    columns: list[np.ndarray] = []
    ends = np.append(rows[1:], len(span.stream)) - 1
    for codebook in range(width):
        events = mine[span.codebook[mine] == codebook]
        if not len(events):
            raise DataError(
                f"speech has units of codebook {width - 1} but none of codebook {codebook}: cut it off earlier"
            )
        # an anchor's further codebooks follow its first; other streams hold what came before the anchor unit
        limit = ends if is_anchor else rows
        last = np.searchsorted(events, limit, side="right") - 1
        columns.append(span.code[events[np.maximum(last, 0)]])
    return np.stack(columns, axis=1)


def _durations(span: UnitSpan, rows: np.ndarray, *, frame_level: bool) -> np.ndarray | None:
    if frame_level:
        return np.ones(len(rows), np.int32)
    if span.frame is None:
        return None
    return np.append(np.diff(span.frame[rows]), 1).astype(np.int32)
