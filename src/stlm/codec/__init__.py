"""Documents to ids and back. No torch."""

from stlm.codec.align import align
from stlm.codec.codec import Codec
from stlm.codec.merge import merge
from stlm.codec.stream import Delta, SpanEnd, StreamParser, TextDelta, UnitsDelta

__all__ = ["Codec", "Delta", "SpanEnd", "StreamParser", "TextDelta", "UnitsDelta", "align", "merge"]
