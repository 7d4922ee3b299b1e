"""Emissions of long recordings: the network hears windows that overlap, and their middles are joined.

Windows start on the frame grid of the convolutions, so that frame i of the whole is frame i - first of the window. The
frames of the overlap are computed twice and kept where they are further from the window's edge. Inside a window
everything sees everything (attention, group norm), so a joined frame is near that of the whole, not equal to it; a
recording of one window is the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stlm.errors import ConfigError, DataError

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Samples ``float32[N]`` to log-probabilities ``float32[T, V]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How a network of convolutions without padding is heard over.

    Args:
        sample_rate: of the samples.
        hop: samples from frame to frame.
        reach: samples that one frame sees.
        window: seconds heard at once; attention costs its square.
        overlap: seconds that two windows share.
    """

    sample_rate: int
    hop: int
    reach: int
    window: float
    overlap: float

    def emissions(self, samples: np.ndarray, forward: Forward) -> torch.Tensor:
        """Log-probabilities ``float32[T, V]`` of ``float32[N]``, on the CPU.

        Raises:
            DataError: not one frame fits in.
            ConfigError: the network makes other frames than its convolutions say.
        """
        total = (len(samples) - self.reach) // self.hop + 1
        if total < 1:
            raise DataError(
                f"{len(samples) / self.sample_rate:.3f} s of audio are too short to align, expected at least "
                f"{self.reach / self.sample_rate:.3f} s"
            )
        most, shared = (int(seconds * self.sample_rate / self.hop) for seconds in (self.window, self.overlap))
        step, before = most - shared, shared // 2
        parts: list[torch.Tensor] = []
        for first in range(0, max(1, total - shared), step):
            last = min(first + most, total)
            piece = samples[first * self.hop : (last - 1) * self.hop + self.reach]
            rows = forward(torch.from_numpy(piece)).float().cpu()
            if len(rows) != last - first:
                raise ConfigError(
                    f"the model makes {len(rows)} frames of {len(piece)} samples, expected {last - first} from its "
                    "convolutions: this kind of model cannot be aligned with"
                )
            start = before if first else 0
            end = last - first if last == total else step + before
            parts.append(rows[start:end])
        return torch.cat(parts)


def check_windows(window: float, overlap: float) -> None:
    """Raise ConfigError where windows would not get on."""
    if not window >= 1 or not 0 <= overlap <= window / 2:
        raise ConfigError(
            f"window must be at least 1 s and overlap within 0 s and half of it, got {window:g} s and {overlap:g} s"
        )


def reach_of(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame of stacked convolutions sees."""
    reach = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        reach = (reach - 1) * stride + kernel
    return reach
