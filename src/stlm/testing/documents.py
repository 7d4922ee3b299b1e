"""Documents as plain values that compare with ``==``; their own arrays do not."""

from __future__ import annotations

from stlm.types import Document, Marker, Span, SpeechSpan, TextSpan


def plain(document: Document) -> list[tuple[object, ...]]:
    """One tuple per span: its kind and everything in it."""
    return [plain_span(span) for span in document]


def plain_span(span: Span) -> tuple[object, ...]:
    if isinstance(span, Marker):
        return ("marker", span.name, span.loss)
    if isinstance(span, TextSpan):
        return ("text", span.text, None if span.units is None else span.units.ids.tolist(), span.loss)
    if isinstance(span, SpeechSpan):
        streams = {
            name: (units.spec, units.start, units.codes.tolist(), None if units.held is None else units.held.tolist())
            for name, units in span.streams.items()
        }
        return ("speech", span.layout, streams, span.loss)
    events = zip(span.stream.tolist(), span.codebook.tolist(), span.code.tolist(), strict=True)
    return ("events", span.layout, list(events), span.loss)
