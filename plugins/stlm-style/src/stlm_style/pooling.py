"""From frames to seconds: the mean over each second's frames."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stlm.errors import ConfigError

SAMPLE_RATE = 16000


def frames_per_second(hop: int) -> int:
    """Frames in a unit of a model with one frame each `hop` samples: 50 of the official one, at a hop of 320.

    Raises:
        ConfigError: the hop is longer than a second.
    """
    frames = round(SAMPLE_RATE / hop)
    if not frames:
        raise ConfigError(f"the model's frames are {hop} samples apart, expected at most {SAMPLE_RATE}: one a second")
    return frames


def means(rows: torch.Tensor, frames: int) -> torch.Tensor:
    """``[…, ceil(T / frames), D]``: the mean of each `frames` rows of ``[…, T, D]``, the last of what is left."""
    missing = -rows.shape[-2] % frames
    filled = F.pad(rows, (0, 0, 0, missing)).unflatten(-2, (-1, frames))
    counts = torch.full((filled.shape[-3], 1), float(frames), device=rows.device)
    counts[-1] -= missing
    return filled.sum(-2) / counts
