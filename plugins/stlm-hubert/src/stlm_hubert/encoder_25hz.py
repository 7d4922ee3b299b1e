"""`Hubert25HzEncoder`: audio to Spirit LM's HuBERT units, 25 a second.

Layer 11 of a HuBERT at 25 Hz, a linear quantizer to 500 units and a blank, and blanks that take the unit before them.
Sounds beyond 100 s are encoded in independent pieces, and pieces below 0.08 s give nothing, as in the official encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlm.errors import ConfigError, DataError
from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.speech_model import units_of_pieces
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.types import Audio, StreamSpec, Units
from stlm_hubert.model_25hz import LAYER, OPTIONS, SAMPLE_RATE, WEIGHTS, Hubert25HzModel, read_saved
from stlm_hubert.official import read_official
from stlm_hubert.quantizer import fill_blanks

CHUNK = 1_600_000  # samples, 100 s
SHORTEST = 1280


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``hubert_25hz``.

    Args:
        path: directory with the two files of the official checkpoint, or one written by ``save``.
        model_file, quantizer_file: names of the official files.
        stream: name of the stream.
        precision: ``fp32``, or ``bf16``: about twice as fast on a processor with bfloat16 products, with a few per
            cent of the units different. The quantizer is always fp32.
        device: where to compute.
    """

    path: str = ""
    model_file: str = "mhubert_base_25hz.pt"
    quantizer_file: str = "L11_quantizer_500.pt"
    stream: str = "hubert"
    precision: str = "fp32"
    device: str = "cpu"


def build(config: Config) -> Hubert25HzEncoder:
    return Hubert25HzEncoder(_read(config), stream=config.stream, precision=config.precision, device=config.device)


def _read(config: Config) -> Hubert25HzModel:
    if not config.path:
        raise ConfigError("hubert_25hz needs a model: set path to the directory with the official files, got ''")
    directory = Path(config.path)
    if not directory.is_dir():
        raise DataError(
            f"{directory}: no such directory, expected one with {config.model_file} and {config.quantizer_file}"
        )
    official = directory / config.model_file
    if not official.exists() and (directory / OPTIONS).exists() and (directory / WEIGHTS).exists():
        return read_saved(directory)
    return read_official(official, directory / config.quantizer_file)


class Hubert25HzEncoder(SpeechUnitEncoder):
    """Units 0 to V - 1, and V where a whole piece is blank."""

    def __init__(
        self, model: Hubert25HzModel, *, stream: str = "hubert", precision: str = "fp32", device: str = "cpu"
    ) -> None:
        self._model, self._stream, self._precision, self._device = model, stream, precision, device
        self._transformer = SpeechTransformer(model.hubert(), layer=LAYER, precision=precision, device=device)
        self._quantizer = model.quantizer_layers().to(device)
        self._blank = model.sizes.vocab_size
        self._spec = StreamSpec(
            name=stream,
            codebook_sizes=(model.sizes.vocab_size + 1,),
            sample_rate=SAMPLE_RATE,
            hop=self._transformer.hop,
            window=self._transformer.window,
            fingerprint=model.fingerprint,
            chunk=CHUNK,
            shortest=SHORTEST,
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return units_of_pieces(self._spec, batch, self._codes)

    def save(self, directory: Path) -> None:
        self._model.save(directory, self._stream)

    @torch.inference_mode()
    def _codes(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        hidden = self._transformer.hidden(waves)
        best = [self._quantizer(rows).argmax(1).cpu().numpy() for rows in hidden]
        return [fill_blanks(codes, self._blank) for codes in best]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._model, self._stream, self._precision, self._device)


def _rebuilt(model: Hubert25HzModel, stream: str, precision: str, device: str) -> Hubert25HzEncoder:
    return Hubert25HzEncoder(model, stream=stream, precision=precision, device=device)
