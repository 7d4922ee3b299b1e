"""`HubertKMeansEncoder`: audio to the nearest centroids of one layer of a Hugging Face HuBERT or wav2vec2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import PretrainedConfig, PreTrainedModel

from stlm.errors import ConfigError, FormatError
from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.fingerprint import fingerprint
from stlm.learn.kmeans import assign
from stlm.learn.speech_model import units_of_pieces
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.weights import compact, entry, read_json
from stlm.types import Audio, StreamSpec, Units
from stlm_hubert.codebook import read_codebook
from stlm_hubert.model_25hz import SAMPLE_RATE
from stlm_hubert.pretrained import normalizes, read_pretrained

OPTIONS = "encoder.json"
CODEBOOK = "codebook.safetensors"
MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``hubert``.

    Args:
        path: directory or hub name of a model of type hubert or wav2vec2, or a directory written by ``save``; of the
            latter, all but precision and device is read from there.
        layer: whose output, 1 for the first; as many as there are or more for the last.
        codebook: k-means centroids, ``.safetensors`` with an array ``centroids`` [K, D], or ``.npy`` [K, D]. A pickled
            scikit-learn model is never opened: save its ``cluster_centers_`` with ``numpy.save`` first.
        normalize: bring each wave to mean 0 and variance 1; None asks the model's ``preprocessor_config.json``.
        stream: name of the stream.
        chunk: longer sounds are encoded in pieces of so many samples (attention grows with the square); 0 for never.
        precision: ``fp32``, or ``bf16``: about twice as fast on a processor with bfloat16 products.
        device: where to compute.
    """

    path: str = ""
    layer: int = 0
    codebook: str = ""
    normalize: bool | None = None
    stream: str = "hubert"
    chunk: int = 1_600_000
    precision: str = "fp32"
    device: str = "cpu"


def build(config: Config) -> HubertKMeansEncoder:
    if not config.path:
        raise ConfigError("hubert needs a model: set path to a directory or hub name, got ''")
    if (Path(config.path) / OPTIONS).is_file():
        return _build_saved(config)
    if config.layer < 1:
        raise ConfigError(f"layer must be 1 (the first layer's output) or more, got {config.layer}")
    normalize = normalizes(config.path) if config.normalize is None else config.normalize
    return HubertKMeansEncoder(
        read_pretrained(config.path),
        read_codebook(config.codebook),
        layer=config.layer,
        normalize=normalize,
        stream=config.stream,
        chunk=config.chunk,
        precision=config.precision,
        device=config.device,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedUnits:
    """What ``save`` wrote: a model, centroids ``float32[K, D]`` of one of its layers, and the options of `Config`."""

    model: PreTrainedModel
    centroids: torch.Tensor
    layer: int
    normalize: bool
    stream: str
    chunk: int


def read_saved_units(directory: Path) -> SavedUnits:
    """The parts of a directory that ``save`` or ``recipe=hubert_kmeans`` wrote.

    Raises:
        DataError: a file is missing or unreadable. FormatError: it holds something else.
    """
    path = directory / OPTIONS
    options = read_json(path)
    return SavedUnits(
        model=read_pretrained(str(directory / MODEL)),
        centroids=read_codebook(str(directory / CODEBOOK)),
        layer=entry(options, "layer", int, path),
        normalize=entry(options, "normalize", bool, path),
        stream=entry(options, "stream", str, path),
        chunk=entry(options, "chunk", int, path),
    )


def _build_saved(config: Config) -> HubertKMeansEncoder:
    saved = read_saved_units(Path(config.path))
    return HubertKMeansEncoder(
        saved.model,
        saved.centroids,
        layer=saved.layer,
        normalize=saved.normalize,
        stream=saved.stream,
        chunk=saved.chunk,
        precision=config.precision,
        device=config.device,
    )


class HubertKMeansEncoder(SpeechUnitEncoder):
    """Nearest-centroid codes.

    Args:
        model: a ``HubertModel`` or ``Wav2Vec2Model``.
        centroids: ``float32[K, D]``.
        layer, normalize, stream, chunk, precision, device: as in `Config`.

    Raises:
        ConfigError: an option is out of range or the model is not supported. FormatError: the centroids are of another
            width than the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        centroids: torch.Tensor,
        *,
        layer: int,
        normalize: bool,
        stream: str = "hubert",
        chunk: int = 0,
        precision: str = "fp32",
        device: str = "cpu",
    ) -> None:
        self._model, self._centroids = model, centroids
        self._options = {"layer": layer, "normalize": normalize, "stream": stream, "chunk": chunk}
        self._place = {"precision": precision, "device": device}
        self._transformer = SpeechTransformer(
            model, layer=layer, normalize=normalize, precision=precision, device=device
        )
        width = self._transformer.num_dimensions
        if centroids.shape[1] != width:
            raise FormatError(
                f"the centroids have {centroids.shape[1]} dimensions, expected {width} as the model's hidden states: "
                "they were fitted on another model"
            )
        if chunk and chunk < self._transformer.window:
            raise ConfigError(f"chunk must be 0 or at least {self._transformer.window} samples, got {chunk}")
        self._on_device = centroids.to(device)
        self._spec = StreamSpec(
            name=stream,
            codebook_sizes=(len(centroids),),
            sample_rate=SAMPLE_RATE,
            hop=self._transformer.hop,
            window=self._transformer.window,
            fingerprint=self._fingerprint(),
            chunk=chunk,
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return units_of_pieces(self._spec, batch, self._codes)

    def save(self, directory: Path) -> None:
        self._model.save_pretrained(directory / MODEL, state_dict=compact(self._model.state_dict()))
        save_file({"centroids": self._centroids}, directory / CODEBOOK)
        (directory / OPTIONS).write_text(json.dumps(self._options, indent=2) + "\n")

    def _codes(self, waves: list[np.ndarray]) -> list[np.ndarray]:
        return [assign(rows, self._on_device).cpu().numpy() for rows in self._transformer.hidden(waves)]

    def _fingerprint(self) -> str:
        """Of weights, centroids and options but the stream's name; precision and device only round."""
        arrays = {f"model.{name}": value for name, value in self._model.state_dict().items()}
        options = {name: self._options[name] for name in ("layer", "normalize", "chunk")}
        return fingerprint(arrays | {"centroids": self._centroids}, options)

    def __reduce__(self) -> tuple[Any, ...]:
        # a module with weight norm does not pickle
        parts = type(self._model), self._model.config, self._model.state_dict()
        return _rebuilt, (*parts, self._centroids, self._options | self._place)


def _rebuilt(
    kind: type[PreTrainedModel],
    config: PretrainedConfig,
    state: dict[str, torch.Tensor],
    centroids: torch.Tensor,
    options: dict[str, Any],
) -> HubertKMeansEncoder:
    with torch.device("meta"):
        model = kind(config)
    model = model.to_empty(device="cpu")
    model.load_state_dict(state)
    return HubertKMeansEncoder(model.eval().requires_grad_(False), centroids, **options)
