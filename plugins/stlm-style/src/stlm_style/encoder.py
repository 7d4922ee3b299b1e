"""`StyleEncoder`: audio to one style unit for every started second of 50 frames.

A wav2vec2 over the normalised wave, a projection, the mean over each 50 frames, a classifier: the distilled style
encoder of Spirit LM Expressive. Sounds beyond 100 s are encoded in independent pieces, and pieces below 0.08 s give
nothing, as in the official encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from stlm.errors import ConfigError
from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.speech_model import units_of_pieces
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.types import Audio, StreamSpec, Units
from stlm_style.classifier import StyleClassifier, read_classifier

SAMPLE_RATE = 16000
FRAMES = 50  # of the transformer in a unit
CHUNK = 1_600_000  # samples, 100 s
SHORTEST = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``style_w2v2``.

    Args:
        path: directory of a ``Wav2Vec2ForSequenceClassification``: ``config.json`` and ``pytorch_model.bin`` or
            ``model.safetensors``.
        stream: name of the stream.
        precision: ``fp32``, or ``bf16``: about twice as fast on a processor with bfloat16 products. Projection, mean
            and classifier are always fp32.
        device: where to compute.
    """

    path: str = ""
    stream: str = "style"
    precision: str = "fp32"
    device: str = "cpu"


def build(config: Config) -> StyleEncoder:
    if not config.path:
        raise ConfigError("style_w2v2 needs a model: set path to the directory of a wav2vec2 classifier, got ''")
    classifier = read_classifier(Path(config.path))
    return StyleEncoder(classifier, stream=config.stream, precision=config.precision, device=config.device)


class StyleEncoder(SpeechUnitEncoder):
    """The most probable class of each second."""

    def __init__(
        self, classifier: StyleClassifier, *, stream: str = "style", precision: str = "fp32", device: str = "cpu"
    ) -> None:
        self._stored, self._stream, self._precision, self._device = classifier, stream, precision, device
        body, projector, head = classifier.parts()
        self._transformer = SpeechTransformer(body, precision=precision, device=device, normalize=True)
        self._projector, self._head = projector.to(device), head.to(device)
        self._spec = StreamSpec(
            name=stream,
            codebook_sizes=(head.out_features,),
            sample_rate=SAMPLE_RATE,
            hop=FRAMES * self._transformer.hop,
            window=self._transformer.window,
            fingerprint=classifier.fingerprint,
            chunk=CHUNK,
            shortest=SHORTEST,
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return units_of_pieces(self._spec, batch, self._codes)

    def save(self, directory: Path) -> None:
        self._stored.save(directory)

    @torch.inference_mode()
    def _codes(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        pooled = [means(self._projector(rows)) for rows in self._transformer.hidden(waves)]
        return [self._head(rows).argmax(1).cpu().numpy() for rows in pooled]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._stored, self._stream, self._precision, self._device)


def means(rows: torch.Tensor) -> torch.Tensor:
    """``[ceil(T / 50), D]``: the mean of each 50 rows of ``[T, D]``, of the last as many as there are."""
    T = len(rows)
    filled = F.pad(rows, (0, 0, 0, -T % FRAMES)).view(-1, FRAMES, rows.shape[1])
    counts = torch.full((len(filled), 1), float(FRAMES), device=rows.device)
    counts[-1] -= -T % FRAMES
    return filled.sum(1) / counts


def _rebuilt(classifier: StyleClassifier, stream: str, precision: str, device: str) -> StyleEncoder:
    return StyleEncoder(classifier, stream=stream, precision=precision, device=device)
