"""Changes to log-mel frames that leave the words as they are, so that a recogniser learns to hear past them.

Tempo and vocal tract are stretched (Ko et al., 2015; Jaitly and Hinton, 2013), and each formant a little for itself;
noise of any colour is added, spectra are smeared as vocoders smear them, and stretches of time and bands are erased
(SpecAugment, Park et al., 2019). Steady gains and tilts need no place here: the features are free of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stlm.errors import ConfigError

LOUDEST_NOISE = 5.0  # dB below the speech
SOFTEST_NOISE = 40.0
NUM_PARTS = 5  # of the frequency axis, about one for each formant
DB = np.log(10) / 10


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """How much is changed; 0 turns a change off.

    Args:
        tempo: largest change of tempo, as a share.
        vocal_tract: largest stretch of the frequency axis, as a share.
        formants: largest stretch of each part of the frequency axis beside the others, as a share.
        noise: share of recordings with noise.
        blur: share of recordings whose spectra are smeared.
        time_masks, time_mask: stretches erased per recording, and the longest, in mel frames (10 ms).
        longest_mask: of the recording's frames, what one mask may erase.
        band_masks, band_mask: runs of mel bands erased, and the widest.
        join: share of batches in which two recordings follow each other, with a pause, as one.
    """

    tempo: float = 0.1
    vocal_tract: float = 0.1
    formants: float = 0.05
    noise: float = 0.5
    blur: float = 0.2
    time_masks: int = 10
    time_mask: int = 100
    longest_mask: float = 0.05
    band_masks: int = 2
    band_mask: int = 27
    join: float = 0.25

    def __post_init__(self) -> None:
        for name in ("tempo", "vocal_tract", "formants", "noise", "blur", "longest_mask", "join"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be a share in [0, 1], got {getattr(self, name)}")
        for name in ("time_masks", "time_mask", "band_masks", "band_mask"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")


def distort(log_mel: Tensor, centres: np.ndarray, options: AugmentOptions, rng: np.random.Generator) -> Tensor:
    """Another recording of the same words, before normalisation.

    Args:
        log_mel: ``float32[T, M]``.
        centres: ``float64[M]``, of the bands, in Hz.
        options: how much is changed.
        rng: decides the changes.

    Returns:
        ``float32[T', M]``.
    """
    if len(log_mel) < 2:
        return log_mel
    tempo = 1 + options.tempo * rng.uniform(-1, 1)
    log_mel = _stretched(log_mel, tempo, _bent(centres, options, rng))
    if rng.random() < options.blur:
        log_mel = _smeared(log_mel, over_time=int(rng.integers(0, 3)), over_bands=int(rng.integers(0, 2)))
    if rng.random() < options.noise:
        log_mel = torch.logaddexp(log_mel, _noise(log_mel, rng))
    return log_mel


def erase(features: Tensor, options: AugmentOptions, rng: np.random.Generator) -> Tensor:
    """Some stretches of time and some bands of normalised frames ``float32[T, M]`` set to their mean, 0."""
    T, M = features.shape
    features = features.clone()
    longest = min(options.time_mask, int(options.longest_mask * T))
    for _ in range(options.time_masks):
        length = int(rng.integers(0, longest + 1))
        start = int(rng.integers(0, T - length + 1))
        features[start : start + length] = 0
    for _ in range(options.band_masks):
        width = int(rng.integers(0, min(options.band_mask, M) + 1))
        start = int(rng.integers(0, M - width + 1))
        features[:, start : start + width] = 0
    return features


def _bent(centres: np.ndarray, options: AugmentOptions, rng: np.random.Generator) -> np.ndarray:
    """Fractional places ``float64[M]`` among the bands from which each band is taken."""
    M = len(centres)
    knots = options.vocal_tract * rng.uniform(-1, 1) + options.formants * rng.uniform(-1, 1, NUM_PARTS)
    bend = 1 + np.interp(np.arange(M), np.linspace(0, M - 1, NUM_PARTS), knots)
    return np.interp(centres * bend, centres, np.arange(M))


def _stretched(log_mel: Tensor, tempo: float, bands: np.ndarray) -> Tensor:
    """Linear interpolation along time, and along the bands at fractional places ``float64[M]``."""
    T = len(log_mel)
    rows = torch.linspace(0, T - 1, max(1, round(T / tempo)))
    return _at(_at(log_mel, rows).T, torch.from_numpy(bands.astype(np.float32))).T.contiguous()


def _at(values: Tensor, places: Tensor) -> Tensor:
    """Rows of ``[N, D]`` at fractional places."""
    low = places.floor().long().clamp(0, len(values) - 1)
    high = (low + 1).clamp_max(len(values) - 1)
    share = (places - low)[:, None]
    return values[low] * (1 - share) + values[high] * share


def _smeared(log_mel: Tensor, *, over_time: int, over_bands: int) -> Tensor:
    """Means over ``2 n + 1`` frames and bands."""
    image = F.pad(log_mel[None, None], (over_bands, over_bands, over_time, over_time), mode="replicate")
    return F.avg_pool2d(image, (2 * over_time + 1, 2 * over_bands + 1), stride=1)[0, 0]


def _noise(log_mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Log power of noise: a random smooth colour, a random loudness, and the flutter that power of noise has."""
    T, M = log_mel.shape
    corners = torch.from_numpy(rng.normal(0, 2.0, 4).astype(np.float32))
    colour = _at(corners[:, None], torch.linspace(0, 3, M))[:, 0]
    level = log_mel.exp().mean(0).clamp_min(1e-10).log().mean() - DB * rng.uniform(LOUDEST_NOISE, SOFTEST_NOISE)
    flutter = torch.from_numpy(rng.standard_exponential((T, M), dtype=np.float32)).clamp_min(1e-3).log()
    return colour - colour.mean() + level + flutter
