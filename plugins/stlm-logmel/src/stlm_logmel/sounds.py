"""The log-mel frames that a vocoder makes sound of: finer in frequency than the features, and with their level kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stlm.learn.mel import LogMel, MelOptions
from stlm_logmel.features import FeatureOptions, speech_mean

NUM_BANDS = 80


def sound_options(features: FeatureOptions) -> MelOptions:
    """The vocoder's mel analysis: windows of four mel hops, so that Griffin-Lim has frames that overlap enough."""
    window = 4 * features.fine_hop
    return MelOptions(
        sample_rate=features.sample_rate,
        window=window,
        hop=features.fine_hop,
        n_fft=1 << (window - 1).bit_length(),
        num_mels=NUM_BANDS,
        f_min=0.0,
        f_max=features.sample_rate / 2,
        preemphasis=0.0,
    )


class Sounds:
    """Log-mel frames relative to each sound's speech mean, one row per unit; remembers the mean of those means."""

    def __init__(self, features: FeatureOptions) -> None:
        self._features = features
        self._log_mel = LogMel(sound_options(features))
        self._sum = torch.zeros(NUM_BANDS, dtype=torch.float64)
        self._frames = 0

    def joined(self, batch: Sequence[np.ndarray]) -> torch.Tensor:
        """``float32[sum T, P * M]``: the P log-mel frames in each unit's hop."""
        parts = [self._relative(fine) for fine in self._log_mel.split(batch)]
        return torch.cat([*parts, torch.zeros(0, self._features.fine_per_unit * NUM_BANDS)])

    @property
    def colour(self) -> torch.Tensor:
        """``float32[M]``: mean log-mel of the speech so far."""
        return (self._sum / max(1, self._frames)).float()

    def _relative(self, fine: torch.Tensor) -> torch.Tensor:
        step = self._features.fine_per_unit
        units = len(fine) // step
        if units == 0:
            return torch.zeros(0, step * NUM_BANDS)
        sizes, owner = torch.tensor([len(fine)]), torch.zeros(len(fine), dtype=torch.int64)
        mean = speech_mean(fine, sizes, owner, self._features.speech_range_db)[0]
        self._sum += mean.double() * len(fine)
        self._frames += len(fine)
        return (fine - mean)[: units * step].reshape(units, -1)
