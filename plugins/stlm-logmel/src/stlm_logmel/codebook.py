"""What the recipe learns and the encoder and vocoder load: ``codebook.safetensors`` and ``config.json``, data only."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stlm.errors import ConfigError, DataError, FormatError, did_you_mean
from stlm.learn.fingerprint import fingerprint
from stlm.types import StreamSpec
from stlm_logmel.features import FeatureOptions

ARRAYS = "codebook.safetensors"
OPTIONS = "config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Codebook:
    """Clusters of speech frames, and what each sounds like.

    Args:
        features: how frames are computed.
        stream: name of the stream.
        centroids: ``float32[K, D]``, in units of `scale`.
        scale: ``float32[D]``, what each feature is multiplied by before it is compared.
        sounds: ``float32[K, P, M]``, mean log-mel of each cluster at each of the P vocoder frames in a hop, relative to
            the mean of the speech around it.
        colour: ``float32[M]``, mean log-mel of the speech that the codebook was fitted on; gives `sounds` their level.
    """

    features: FeatureOptions
    stream: str
    centroids: torch.Tensor
    scale: torch.Tensor
    sounds: torch.Tensor
    colour: torch.Tensor

    def __post_init__(self) -> None:
        K, D = len(self.centroids), self.features.num_dimensions
        P, M = self.features.fine_per_unit, len(self.colour)
        expected = {"centroids": (K, D), "scale": (D,), "sounds": (K, P, M), "colour": (M,)}
        for name, shape in expected.items():
            array = getattr(self, name)
            if tuple(array.shape) != shape or array.dtype != torch.float32:
                raise FormatError(
                    f"codebook array {name!r} is {array.dtype}{list(array.shape)}, expected float32{list(shape)}: "
                    f"{ARRAYS} and {OPTIONS} do not belong together"
                )
        if not 0 < K <= 1 << 16:
            raise FormatError(f"a codebook needs 1 to 65536 centroids, got {K}")

    @property
    def spec(self) -> StreamSpec:
        mark = fingerprint({"centroids": self.centroids, "scale": self.scale}, self.features)
        return StreamSpec(
            name=self.stream,
            codebook_sizes=(len(self.centroids),),
            sample_rate=self.features.sample_rate,
            hop=self.features.hop,
            window=self.features.hop,
            fingerprint=mark,
        )

    def save(self, directory: Path) -> None:
        arrays = {name: getattr(self, name).contiguous() for name in ("centroids", "scale", "sounds", "colour")}
        save_file(arrays, directory / ARRAYS)
        options = {"stream": self.stream, "features": asdict(self.features)}
        (directory / OPTIONS).write_text(json.dumps(options, indent=2) + "\n")


def load_codebook(path: str | Path) -> Codebook:
    """The codebook in a directory that the recipe wrote.

    Raises:
        ConfigError: no path is given. DataError: a file is missing or unreadable. FormatError: it holds something else.
    """
    if not path:
        raise ConfigError(
            "logmel needs a codebook: set path to a directory written by `stlm train recipe=logmel_kmeans`, got ''"
        )
    directory = Path(path)
    options = _read(directory / OPTIONS, lambda file: json.loads(file.read_text()))
    if not isinstance(options, dict) or not isinstance(options.get("features"), dict):
        raise FormatError(f"{directory / OPTIONS}: no key 'features', expected a mapping with stream and features")
    arrays = _read(directory / ARRAYS, load_file)
    for key in ("centroids", "scale", "sounds", "colour"):
        if key not in arrays:
            raise FormatError(f"{directory / ARRAYS}: no array {key!r}, got {sorted(arrays)}: fit the codebook again")
    try:
        return Codebook(features=_features(options), stream=str(options["stream"]), **arrays)
    except (FormatError, ConfigError, KeyError, TypeError) as error:
        reason = f"{OPTIONS} has no key {error}" if isinstance(error, KeyError) else error
        raise FormatError(f"{directory}: {reason}") from error


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected what `stlm train recipe=logmel_kmeans` writes: check the path")
    try:
        return reader(path)
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}): fit the codebook again or copy it again") from error


def _features(options: dict[str, Any]) -> FeatureOptions:
    given = options["features"]
    known = [field.name for field in fields(FeatureOptions)]
    for key in given:
        if key not in known:
            raise FormatError(f"{OPTIONS} has unknown key {key!r}{did_you_mean(key, known)}; known keys: {known}")
    return FeatureOptions(**given)
