"""`CtcJudge`: what speech says, character by character, with no word list to guess from. Greedy decoding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stlm.interfaces import Judge
from stlm.learn.sounds import AUDIBLE
from stlm.types import Audio
from stlm_ctc.recogniser import Config, Recogniser, load_recogniser


def build(config: Config) -> CtcJudge:
    return CtcJudge(load_recogniser(config.path, config.device))


class CtcJudge(Judge):
    """Reads speech of any length."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        texts = [self.recogniser.read(emission) for emission in self.recogniser.emissions(batch)]
        return [text if _is_audible(audio) else "" for text, audio in zip(texts, batch, strict=True)]


def _is_audible(audio: Audio) -> bool:
    return bool(np.abs(audio.samples).max(initial=0.0) >= AUDIBLE)
