"""The nouns of stlm: plain frozen values over NumPy arrays, no I/O, no torch."""

from stlm.types.audio import Audio, AudioRef
from stlm.types.document import Document, Marker, Piece, Span, Speech, SpeechSpan, TextSpan, UnitSpan
from stlm.types.format import Format, MarkerPolicy, SpeechLayout, StreamRule
from stlm.types.tokens import TokenSequence
from stlm.types.units import AlignedUnits, StreamSpec, TextUnits, Units
from stlm.types.utterance import Rejected, Seconds, Utterance, Word, as_codes, text_boundaries
from stlm.types.vocabulary import Block, Vocabulary

__all__ = [
    "AlignedUnits",
    "Audio",
    "AudioRef",
    "Block",
    "Document",
    "Format",
    "Marker",
    "MarkerPolicy",
    "Piece",
    "Rejected",
    "Seconds",
    "Span",
    "Speech",
    "SpeechLayout",
    "SpeechSpan",
    "StreamRule",
    "StreamSpec",
    "TextSpan",
    "TextUnits",
    "TokenSequence",
    "UnitSpan",
    "Units",
    "Utterance",
    "Vocabulary",
    "Word",
    "as_codes",
    "text_boundaries",
]
