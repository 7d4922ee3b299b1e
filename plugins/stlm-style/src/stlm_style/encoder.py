"""`StyleEncoder`: audio to one style unit for every started second.

A wav2vec2 over the normalised wave, a projection, the mean over each second's frames (50 of the official model), a
classifier: the distilled style encoder of Spirit LM Expressive. Sounds beyond 100 s are encoded in independent pieces,
and pieces below 0.08 s give nothing, as in the official encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlm.errors import ConfigError, DataError
from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.speech_model import units_of_pieces
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.types import Audio, StreamSpec, Units
from stlm_style.classifier import read_classifier
from stlm_style.pooling import SAMPLE_RATE, frames_per_second, means

CHUNK = 1_600_000  # samples, 100 s
SHORTEST = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``style_w2v2``.

    Args:
        path: directory of a ``Wav2Vec2ForSequenceClassification``: ``config.json`` and ``pytorch_model.bin`` or
            ``model.safetensors``.
        stream: name of the stream.
        chunk: samples at 16 kHz of the longest piece that is encoded as one; 0: as saved, or 1,600,000 (100 s).
        precision: ``fp32``, or ``bf16``: about twice as fast on a processor with bfloat16 products. Projection, mean
            and classifier are always fp32.
        device: where to compute.
    """

    path: str = ""
    stream: str = "style"
    chunk: int = 0
    precision: str = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.chunk and self.chunk < SHORTEST:
            raise ConfigError(f"style_w2v2: chunk is {self.chunk} samples, expected {SHORTEST} or more")


def build(config: Config) -> StyleEncoder:
    if not config.path:
        raise ConfigError("style_w2v2 needs a model: set path to the directory of a wav2vec2 classifier, got ''")
    return StyleEncoder(config)


class StyleEncoder(SpeechUnitEncoder):
    """The most probable class of each second."""

    def __init__(self, config: Config) -> None:
        stored = read_classifier(Path(config.path))
        chunk = config.chunk or stored.chunk or CHUNK
        self._config = replace(config, chunk=chunk)
        body, projector, head = stored.parts()
        self._transformer = SpeechTransformer(body, precision=config.precision, device=config.device, normalize=True)
        self._projector, self._head = projector.to(config.device), head.to(config.device)
        self._frames = frames_per_second(self._transformer.hop)
        self._spec = StreamSpec(
            name=config.stream,
            codebook_sizes=(head.out_features,),
            sample_rate=SAMPLE_RATE,
            hop=self._frames * self._transformer.hop,
            window=self._transformer.window,
            fingerprint=stored.fingerprint_at(chunk),
            chunk=chunk,
            shortest=SHORTEST,
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return units_of_pieces(self._spec, batch, self._codes)

    def save(self, directory: Path) -> None:
        """Copy the files' content; the weights in use are packed for one processor, so they are read again.

        Raises:
            DataError: the files are no longer those that were loaded.
        """
        stored = read_classifier(Path(self._config.path))
        if stored.fingerprint_at(self._spec.chunk) != self._spec.fingerprint:
            raise DataError(f"{self._config.path}: the files changed since they were loaded: load the encoder again")
        stored.save(directory, self._spec.chunk)

    @torch.inference_mode()
    def _codes(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        pooled = [means(self._projector(rows), self._frames) for rows in self._transformer.hidden(waves)]
        return [self._head(rows).argmax(1).cpu().numpy() for rows in pooled]

    def __reduce__(self) -> tuple[Any, ...]:
        return build, (self._config,)
