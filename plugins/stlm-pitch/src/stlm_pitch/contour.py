"""From F0 and voicing to what the VQ-VAE sees: ``float32[2, T']``, one frame every 5 ms, of one piece of audio.

The order of the steps is the official one: bridge unvoiced stretches, limit, repeat frames to 5 ms, remove the piece's
mean over voiced frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from stlm.errors import DataError, FormatError

HOP = 80
"""Samples at 16 kHz between two frames: 5 ms, the F0 clock of the official expressive encoder."""
F0_MIN = 50.0
"""Hz; what is lower counts as unvoiced (official expressive encoder)."""
F0_MAX = 1100.0
"""Hz; what is higher is set to it, after interpolation (official expressive encoder)."""
FEATURES = ("norm_f0_interp,vuv", "f0_interp,vuv", "norm_f0,vuv", "f0,vuv")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContourOptions:
    """What a VQ-VAE was trained on.

    Args:
        interpolate: unvoiced frames lie on straight lines between their voiced neighbours; otherwise they are 0.
        subtract_mean: F0 less its mean over the voiced frames of the piece.
    """

    interpolate: bool = True
    subtract_mean: bool = True

    @classmethod
    def from_features(cls, features: str, speaker_norm: bool) -> ContourOptions:
        """From the checkpoint's ``features`` and ``speaker_norm``.

        Raises:
            FormatError: unknown features.
        """
        if features not in FEATURES:
            raise FormatError(f"key 'features' is {features!r}, expected one of {', '.join(map(repr, FEATURES))}")
        return cls(interpolate="interp" in features, subtract_mean=speaker_norm or features.startswith("norm_"))


def num_frames(num_samples: int) -> int:
    """Frames T' of a piece of so many samples."""
    return num_samples // HOP + 1


def contour(f0: np.ndarray, voiced: np.ndarray, num_samples: int, options: ContourOptions) -> torch.Tensor:
    """F0 in Hz, normalised, and voicing 0 or 1: ``float32[2, num_samples // 80 + 1]``.

    Without a single voiced frame there is nothing to interpolate and no mean to remove: both rows are 0.

    Args:
        f0: ``float32[T]`` in Hz, on any regular grid over the piece.
        voiced: ``bool[T]``.
        num_samples: length of the piece at 16 kHz.
        options: what the VQ-VAE was trained on.

    Raises:
        DataError: the two arrays do not belong together, or are empty.
    """
    if f0.shape != voiced.shape or f0.ndim != 1 or not len(f0):
        raise DataError(
            f"F0 and voicing must be float32[T] and bool[T] with T > 0, got {list(f0.shape)} and {list(voiced.shape)}: "
            "the F0 extractor breaks its contract"
        )
    voiced = voiced & (f0 >= F0_MIN)
    f0 = np.where(voiced, f0, np.float32(0)).astype(np.float32)
    if options.interpolate and voiced.any():
        f0 = bridge(f0, voiced)
    rows = torch.from_numpy(np.stack([np.minimum(f0, np.float32(F0_MAX)), voiced.astype(np.float32)]))
    rows = F.interpolate(rows[None], size=num_frames(num_samples), mode="nearest")[0]
    return _centred(rows) if options.subtract_mean else rows


def bridge(f0: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """F0 with unvoiced frames on straight lines between voiced ones, constant at both ends: ``float32[T]``.

    In float32 and in this order of operations, so that it equals FCPE's own interpolation to the last bit.
    """
    known, gaps = np.flatnonzero(voiced), np.flatnonzero(~voiced)
    values = f0[known]
    right = np.searchsorted(known, gaps).clip(max=len(known) - 1)
    left = (right - 1).clip(min=0)
    width = np.maximum(known[right] - known[left], 1).astype(np.float32)
    between = values[left] + (gaps - known[left]).astype(np.float32) * (values[right] - values[left]) / width
    filled = f0.copy()
    filled[gaps] = np.where(gaps < known[0], values[0], np.where(gaps > known[-1], values[-1], between))
    return filled


def _centred(rows: torch.Tensor) -> torch.Tensor:
    """Every F0 that is not 0, less the mean over voiced frames."""
    f0, voicing = rows
    heard = f0[voicing != 0]
    if not len(heard):
        return rows
    return torch.stack([torch.where(f0 != 0, f0 - heard.mean(), f0), voicing])
