"""`PocketSphinxJudge`: English with the model that comes with the package, offline, on one CPU core.

It knows 126,000 words and a language model of its own, so it guesses at words where sounds are unclear; its error rates
on read speech are several times those of the other judges. Each sound starts from the same state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from stlm.errors import ConfigError, PluginError
from stlm.interfaces import Judge
from stlm.types import Audio
from stlm_judges.pieces import transcribe_pieces

SAMPLE_RATE = 16000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``pocketsphinx``.

    Args:
        longest: piece read at once, in seconds.
    """

    longest: float = 30.0

    def __post_init__(self) -> None:
        if not self.longest >= 1:
            raise ConfigError(f"longest must be at least 1 s, got {self.longest:g}")


def build(config: Config) -> PocketSphinxJudge:
    return PocketSphinxJudge(config)


class PocketSphinxJudge(Judge):
    """What PocketSphinx hears."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        # cmn=batch: each sound's features are normalised by its own mean, not by those of the sounds before
        self._decoder = _pocketsphinx().Decoder(samprate=SAMPLE_RATE, cmn="batch", loglevel="FATAL")

    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        return transcribe_pieces(batch, self._read, sample_rate=SAMPLE_RATE, longest=self.config.longest)

    def _read(self, pieces: Sequence[np.ndarray]) -> list[str]:
        return [self._hear((piece.clip(-1, 1) * 32767).astype("<i2").tobytes()) for piece in pieces]

    def _hear(self, samples: bytes) -> str:
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


def _pocketsphinx() -> Any:
    try:
        return import_module("pocketsphinx")
    except ImportError as error:
        raise PluginError(
            "the judge pocketsphinx needs the package of that name: pip install 'stlm-judges[pocketsphinx]'"
        ) from error
