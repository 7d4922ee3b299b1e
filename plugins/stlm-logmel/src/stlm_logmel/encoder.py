"""`LogMelEncoder`: audio to k-means units of mel cepstra. Thousands of times real time on one core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stlm.audio import resample
from stlm.errors import DataError
from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.kmeans import assign
from stlm.learn.threads import one_thread
from stlm.types import Audio, StreamSpec, Units, as_codes
from stlm_logmel.codebook import Codebook, load_codebook
from stlm_logmel.features import UnitFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``logmel``.

    Args:
        path: directory written by the recipe ``logmel_kmeans``, or by ``save``; it holds all that decides the units.
        device: where to compute; a CPU core is enough.
    """

    path: str = ""
    device: str = "cpu"


def build(config: Config) -> LogMelEncoder:
    return LogMelEncoder(load_codebook(config.path), device=config.device)


class LogMelEncoder(SpeechUnitEncoder):
    """Nearest-centroid codes of mel cepstra."""

    def __init__(self, codebook: Codebook, device: str = "cpu") -> None:
        self._codebook = codebook
        self._spec = codebook.spec
        self._features = UnitFeatures(codebook.features, device)
        self._scale = codebook.scale.to(device)
        self._centroids = codebook.centroids.to(device)

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    @one_thread()
    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        sounds = [self._samples(audio) for audio in batch]
        codes = assign(self._features.joined(sounds) * self._scale, self._centroids).cpu().numpy()
        ends = np.cumsum([self._spec.num_frames(len(samples)) for samples in sounds])
        return [Units(spec=self._spec, codes=as_codes(part)) for part in np.split(codes, ends)[: len(sounds)]]

    def save(self, directory: Path) -> None:
        self._codebook.save(directory)

    def _samples(self, audio: Audio) -> np.ndarray:
        samples = resample(audio, self._spec.sample_rate).samples
        if not np.isfinite(samples).all():
            raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
        return samples
