"""`Hubert25HzEncoder`: audio to Spirit LM's HuBERT units, 25 a second.

Layer 11 of a HuBERT at 25 Hz, a linear quantizer to 500 units and a blank, and blanks that take the unit before them.
Sounds beyond 100 s are encoded in independent pieces, and pieces below 0.08 s give nothing, as in the official encoder.
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
        chunk: samples at 16 kHz of the longest piece that is encoded as one; 0: as saved, or 1,600,000 (100 s).
        precision: ``fp32``, ``bf16`` or ``bf16-fast``: faster on a processor with bfloat16 products, with a few per
            cent of the units different. The quantizer is always fp32.
        device: where to compute.
    """

    path: str = ""
    model_file: str = "mhubert_base_25hz.pt"
    quantizer_file: str = "L11_quantizer_500.pt"
    stream: str = "hubert"
    chunk: int = 0
    precision: str = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.chunk and self.chunk < SHORTEST:
            raise ConfigError(f"hubert_25hz: chunk is {self.chunk} samples, expected {SHORTEST} or more")


def build(config: Config) -> Hubert25HzEncoder:
    return Hubert25HzEncoder(config)


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

    def __init__(self, config: Config) -> None:
        model = _read(config)
        chunk = config.chunk or model.chunk or CHUNK
        self._config = replace(config, chunk=chunk)
        self._transformer = SpeechTransformer(
            model.hubert(), layer=LAYER, precision=config.precision, device=config.device
        )
        self._quantizer = model.quantizer_layers().to(config.device)
        self._blank = model.sizes.vocab_size
        self._spec = StreamSpec(
            name=config.stream,
            codebook_sizes=(model.sizes.vocab_size + 1,),
            sample_rate=SAMPLE_RATE,
            hop=self._transformer.hop,
            window=self._transformer.window,
            fingerprint=model.fingerprint_at(chunk),
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
        model = _read(self._config)
        if model.fingerprint_at(self._spec.chunk) != self._spec.fingerprint:
            raise DataError(f"{self._config.path}: the files changed since they were loaded: load the encoder again")
        model.save(directory, self._spec.name, self._spec.chunk)

    @torch.inference_mode()
    def _codes(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        hidden = self._transformer.hidden(waves)
        best = [self._quantizer(rows).argmax(1).cpu().numpy() for rows in hidden]
        return [fill_blanks(codes, self._blank) for codes in best]

    def __reduce__(self) -> tuple[Any, ...]:
        return build, (self._config,)
