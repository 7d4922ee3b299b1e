"""Speech only or text only (GSLM, TWIST, and two thirds of the paper's mixture)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.errors import ConfigError
from stlm.interfaces.interleaver import SPEECH_FIELDS, TEXT_FIELDS, Interleaver
from stlm.interleave.spans import whole_speech, whole_text
from stlm.types import Document, Utterance


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `Unimodal`; modality is "text" or "speech"."""

    modality: str = "speech"
    layout: str = "default"


class Unimodal(Interleaver):
    """The whole utterance in one modality."""

    def __init__(self, modality: str = "speech", layout: str = "default") -> None:
        if modality not in ("text", "speech"):
            raise ConfigError(f"modality must be 'text' or 'speech', got {modality!r}")
        self.modality = modality
        self.layout = layout

    @property
    def reads(self) -> frozenset[str]:
        return TEXT_FIELDS if self.modality == "text" else SPEECH_FIELDS

    @property
    def is_random(self) -> bool:
        return False

    def expected_speech(self, num_words: int) -> float:
        return float(self.modality == "speech")

    def accepts(self, utterance: Utterance) -> bool:
        return bool(utterance.text) if self.modality == "text" else utterance.has_speech

    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        return (whole_text(utterance) if self.modality == "text" else whole_speech(utterance, self.layout),)


def build(config: Config) -> Unimodal:
    return Unimodal(modality=config.modality, layout=config.layout)
