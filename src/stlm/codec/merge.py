"""Frame-level streams in, one ordered sequence of unit events out.

One rule makes all streams one stream: a stable sort by (onset = frame / rate, stream order, codebook). With the rates
of Spirit LM (style 1 Hz, pitch 12.5 Hz, HuBERT 24.99 Hz) it is their order; with K codebooks at one onset it is
frame-flattening. Deduplication happens here, inside the span, after the cut.
"""

from __future__ import annotations

import numpy as np

from stlm.errors import FormatError
from stlm.types import SpeechLayout, SpeechSpan, Units, UnitSpan


def merge(span: SpeechSpan, layout: SpeechLayout, *, dedup: bool = True) -> UnitSpan:
    """Order the streams of a span by time.

    Args:
        span: raw units, one per stream of the layout.
        layout: order, rates, deduplication and carry.
        dedup: False keeps every frame of every stream, whatever the rules say.

    Raises:
        FormatError: the span lacks a stream of the layout.
    """
    if len(layout.rules) == 1:
        return _single(span, layout, dedup=dedup)
    opening = _opening(span, layout)
    events = [_events(span, layout, order, opening, dedup=dedup) for order in range(len(layout.rules))]
    onset, stream, codebook, code, frame = (np.concatenate(column) for column in zip(*events, strict=True))
    order = np.lexsort((codebook, stream, onset))
    return UnitSpan(
        stream=stream[order],
        codebook=codebook[order],
        code=code[order],
        frame=frame[order],
        layout=span.layout,
        loss=span.loss,
    )


def stream_of(span: SpeechSpan, name: str) -> Units:
    """One stream of a span, or a FormatError that names what is there."""
    units = span.streams.get(name)
    if units is None:
        raise FormatError(
            f"the layout {span.layout!r} needs stream {name!r}, but the speech span has {sorted(span.streams)}: "
            "encode the audio with the encoder of that stream"
        )
    return units


def changes(codes: np.ndarray) -> np.ndarray:
    """``bool[T]``, True on the first frame of each run of equal frames."""
    keep = np.ones(len(codes), dtype=bool)
    if codes.shape[1] == 1:
        np.not_equal(codes[1:, 0], codes[:-1, 0], out=keep[1:])
    else:
        np.any(codes[1:] != codes[:-1], axis=1, out=keep[1:])
    return keep


def _single(span: SpeechSpan, layout: SpeechLayout, *, dedup: bool) -> UnitSpan:
    """The common case, one stream: no sort is needed."""
    rule = layout.rules[0]
    units = stream_of(span, rule.stream)
    codes = units.codes
    index = np.flatnonzero(changes(codes)) if dedup and rule.dedup else np.arange(len(codes))
    width = codes.shape[1]
    count: int = len(index) * width
    return UnitSpan(
        stream=np.zeros(count, np.uint8),
        codebook=np.tile(np.arange(width, dtype=np.uint8), len(index)),
        code=codes[index].reshape(-1),
        frame=np.repeat((index + units.start).astype(np.int32), width),
        layout=span.layout,
        loss=span.loss,
    )


def _opening(span: SpeechSpan, layout: SpeechLayout) -> tuple[float, float] | None:
    """Onset of the first anchor frame and of the first frame of any stream; None without an anchor frame.

    A slow stream's first frame can lie a little before the anchor's, and what is carried still comes first.
    """
    firsts = [
        (rule.anchor, units.start / rule.rate_hz) for rule in layout.rules if len(units := stream_of(span, rule.stream))
    ]
    anchor = next((onset for is_anchor, onset in firsts if is_anchor), None)
    return None if anchor is None else (anchor, min(onset for _, onset in firsts))


def _events(
    span: SpeechSpan, layout: SpeechLayout, order: int, opening: tuple[float, float] | None, *, dedup: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rule = layout.rules[order]
    units = stream_of(span, rule.stream)
    codes = units.codes
    frame = np.arange(units.start, units.start + len(codes), dtype=np.int32)
    onset = frame / rule.rate_hz
    if rule.carry and not rule.anchor and units.held is not None and opening is not None:
        anchor_onset, first_onset = opening
        if len(codes) == 0 or onset[0] > anchor_onset:
            codes = np.concatenate([units.held[None], codes])
            frame = np.concatenate([[units.start - 1], frame]).astype(np.int32)
            onset = np.concatenate([[first_onset], onset])
    if dedup and rule.dedup and len(codes):
        keep = changes(codes)
        codes, frame, onset = codes[keep], frame[keep], onset[keep]
    width = codes.shape[1]
    return (
        np.repeat(onset, width),
        np.full(codes.size, order, np.uint8),
        np.tile(np.arange(width, dtype=np.uint8), len(codes)),
        codes.reshape(-1),
        np.repeat(frame, width),
    )
