"""Parses generated ids one by one, so that speech can be spoken and text shown while the model still writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.codec.codec import Codec
from stlm.types import Document, Marker, TextSpan, UnitSpan

UNFINISHED = "\ufffd"
"""What byte-level tokenizers show for a character whose bytes are not complete yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """New characters of the text span being written."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsDelta:
    """New unit events of the speech span being written."""

    units: UnitSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEnd:
    """A span is complete."""

    span: TextSpan | UnitSpan | Marker


Delta = TextDelta | UnitsDelta | SpanEnd


class StreamParser:
    """Ids in, deltas out; the spans together equal ``codec.decode`` of all ids.

    Args:
        codec: the codec of the model that writes.
        at_start: False where the ids go on with a text, whose next word then keeps its space.
    """

    def __init__(self, codec: Codec, *, at_start: bool = True) -> None:
        self.codec = codec
        self.spans: list[TextSpan | UnitSpan | Marker] = []
        self._ids: list[int] = []
        self._blocks: set[str] = set()
        self._kind = 0
        self._shown = 0
        self._at_start = at_start
        self._specials = {codec.format.bos, codec.format.eos, codec.format.pad}

    @property
    def document(self) -> Document:
        """All complete spans."""
        return tuple(self.spans)

    def push(self, id: int) -> list[Delta]:
        """Take one id; begin, end and padding ids change nothing."""
        if id in self._specials:
            return []
        vocabulary = self.codec.format.vocabulary
        block = vocabulary.blocks[int(vocabulary.block_of(np.array([id]))[0])].name
        kind = int(self.codec.kind_of(np.array([id]))[0])
        ends = kind != self._kind or (kind == 2 and self.codec.layout_of({*self._blocks, block}) is None)
        deltas = self.finish() if ends else []
        self._kind = kind
        if kind == 0:
            self._at_start = True
            return deltas + self._marker(id)
        self._ids.append(id)
        self._blocks.add(block)
        return deltas + (self._text() if kind == 1 else self._units(id))

    def finish(self) -> list[Delta]:
        """Close the span being written."""
        if not self._ids:
            return []
        ids = np.array(self._ids)
        deltas: list[Delta] = []
        if self._kind == 1:
            span: TextSpan | UnitSpan = TextSpan(text=self.codec.text_of(ids, at_start=self._at_start))
            if len(span.text) > self._shown:
                deltas.append(TextDelta(text=span.text[self._shown :]))
            self._at_start = False
        else:
            span = self.codec.events_of(ids)
            self._at_start = True
        self._ids, self._blocks, self._shown = [], set(), 0
        self.spans.append(span)
        return [*deltas, SpanEnd(span=span)]

    def _marker(self, id: int) -> list[Delta]:
        document = self.codec.decode(np.array([id]))
        self.spans.extend(document)  # pyright: ignore[reportArgumentType]
        return [SpanEnd(span=span) for span in document if isinstance(span, Marker)]

    def _text(self) -> list[Delta]:
        text = self.codec.text_of(np.array(self._ids), at_start=self._at_start)
        if text.endswith(UNFINISHED) or len(text) <= self._shown:
            return []
        delta = TextDelta(text=text[self._shown :])
        self._shown = len(text)
        return [delta]

    def _units(self, id: int) -> list[Delta]:
        return [UnitsDelta(units=self.codec.events_of(np.array([id])))]
