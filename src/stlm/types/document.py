"""The lingua franca: training data, prompts, few-shot examples, evaluation requests and model output are Documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from stlm.errors import FormatError
from stlm.types.audio import Audio, AudioRef
from stlm.types.units import TextUnits, Units


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A named control token, by its symbol in the format's vocabulary ("[ASR]")."""

    name: str
    loss: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSpan:
    """A stretch of text; `units` are its subword ids where they are known already."""

    text: str
    units: TextUnits | None = None
    loss: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSpan:
    """A stretch of speech as raw frame-level units, as interleavers return it."""

    streams: Mapping[str, Units]
    layout: str = "default"
    loss: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpan:
    """A stretch of speech as a sequence of unit events, as decoding returns it.

    Args:
        stream: ``uint8[N]``, index into the layout's rules.
        codebook: ``uint8[N]``.
        code: ``uint16[N]``.
        frame: ``int32[N]`` on the stream's own clock, or None where ids do not tell.
        layout: name of the layout in the format.
    """

    stream: np.ndarray
    codebook: np.ndarray
    code: np.ndarray
    frame: np.ndarray | None = None
    layout: str = "default"
    loss: bool = True

    def __post_init__(self) -> None:
        if not len(self.stream) == len(self.codebook) == len(self.code):
            raise FormatError(
                f"unit events need one length, got {len(self.stream)}, {len(self.codebook)}, {len(self.code)}"
            )

    def __len__(self) -> int:
        return len(self.code)


Span = Marker | TextSpan | SpeechSpan | UnitSpan
Document = tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Speech that still has to be encoded; prompts and evaluation requests hold it in place of a SpeechSpan."""

    audio: Audio | AudioRef
    meta: Mapping[str, str] = field(default_factory=dict[str, str])


Piece = Span | Speech
