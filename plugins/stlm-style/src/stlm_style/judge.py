"""`StyleJudge`: which label a recording has, by any ``Wav2Vec2ForSequenceClassification``.

The projected frames of the whole recording are averaged and classified, as transformers does. Longer ones than 100 s
are heard in pieces, whose frames count alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlm.audio import resample
from stlm.errors import ConfigError, FormatError
from stlm.interfaces import Classifier
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.types import Audio
from stlm_style.classifier import OPTIONS, read_classifier
from stlm_style.encoder import CHUNK
from stlm_style.pooling import SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``style_w2v2`` of kind classifier.

    Args:
        path: directory of a ``Wav2Vec2ForSequenceClassification`` with ``id2label``, such as ``labels/`` of what
            ``recipe=style_units`` wrote, or a fine-tuned wav2vec2 from the hub that was saved locally.
        device: where to compute.
    """

    path: str = ""
    device: str = "cpu"


def build(config: Config) -> StyleJudge:
    if not config.path:
        raise ConfigError("style_w2v2 needs a model: set path to the directory of a wav2vec2 classifier, got ''")
    return StyleJudge(config)


class StyleJudge(Classifier):
    """The most probable label of each recording; silence of no length gets the first."""

    def __init__(self, config: Config) -> None:
        stored = read_classifier(Path(config.path))
        self._config, self._labels = config, _labels(stored.options, config.path)
        body, projector, head = stored.parts()
        if head.out_features != len(self._labels):
            raise FormatError(
                f"{config.path}: id2label names {len(self._labels)} labels, the classifier has {head.out_features}"
            )
        self._transformer = SpeechTransformer(body, device=config.device, normalize=True)
        self._projector, self._head = projector.to(config.device), head.to(config.device)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @torch.inference_mode()
    def classify(self, batch: Sequence[Audio]) -> list[str]:
        return [self._labels[self._class_of(resample(audio, SAMPLE_RATE).samples)] for audio in batch]

    def _class_of(self, samples: np.ndarray) -> int:
        pieces = [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]
        heard = [piece for piece in pieces if len(piece) >= self._transformer.window]
        if not heard:
            return 0
        frames = torch.cat([self._projector(rows) for rows in self._transformer.hidden(heard)])
        return int(self._head(frames.mean(0)).argmax())

    def __reduce__(self) -> tuple[Any, ...]:
        return build, (self._config,)


def _labels(options: dict[str, Any], path: str) -> tuple[str, ...]:
    names = options.get("id2label")
    if not isinstance(names, dict) or sorted(names, key=int) != [str(index) for index in range(len(names))]:
        raise FormatError(f"{path}/{OPTIONS}: id2label is {str(names)[:60]}, expected a name for each class from 0")
    return tuple(str(names[str(index)]) for index in range(len(names)))
