"""The discriminators that a generator learns by, and their losses (Kong et al., "HiFi-GAN", 2020, sections 2.2, 2.3).

Multi-period: each folds the sound into rows of one period and looks down the columns. Multi-scale: each looks at the
sound, or at averages of 2, 4, … samples of it (Kumar et al., "MelGAN", 2019). Losses are least squares (Mao et al.,
2017) and the distance of hidden values ("feature matching"). Nothing of this is needed for synthesis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from stlm.errors import ConfigError
from stlm_hifigan.generator import SLOPE, channels_last, convolve

Verdict = tuple[torch.Tensor, list[torch.Tensor]]
"""Scores (1: natural, 0: made), and the hidden values that led to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorOptions:
    """Sizes of the discriminators; empty `periods` or 0 `scales` leave a kind out.

    Args:
        periods: samples in a row, one discriminator for each.
        period_channels: of its layers; all but the last have stride 3.
        scales: discriminators of the second kind.
        scale_channels, scale_strides, scale_groups: of their layers.
        scale_kernel: of all but the first of these layers.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    scales: int = 3
    scale_channels: tuple[int, ...] = (128, 128, 256, 512, 1024, 1024)
    scale_strides: tuple[int, ...] = (1, 2, 2, 4, 4, 1)
    scale_groups: tuple[int, ...] = (1, 4, 16, 16, 16, 16)
    scale_kernel: int = 41

    def __post_init__(self) -> None:
        lengths = {len(self.scale_channels), len(self.scale_strides), len(self.scale_groups)}
        if len(lengths) > 1:
            raise ConfigError(
                f"scale_channels, scale_strides and scale_groups have {len(self.scale_channels)}, "
                f"{len(self.scale_strides)} and {len(self.scale_groups)} entries, expected equally many"
            )
        if (self.periods and not self.period_channels) or (self.scales and not self.scale_channels):
            raise ConfigError("discriminators need layers: give period_channels and scale_channels, or periods=[]")
        if self.scale_kernel % 2 == 0:
            raise ConfigError(f"scale_kernel must be odd, got {self.scale_kernel}")
        for inputs, outputs, groups in zip(
            (1, *self.scale_channels), self.scale_channels, self.scale_groups, strict=False
        ):
            if inputs % groups or outputs % groups:
                raise ConfigError(f"scale_groups: {groups} groups do not divide {inputs} and {outputs} channels")


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, options: DiscriminatorOptions) -> None:
        super().__init__()
        self.periods = nn.ModuleList([PeriodDiscriminator(period, options) for period in options.periods])
        self.scales = nn.ModuleList([ScaleDiscriminator(scale, options) for scale in range(options.scales)])

    def __len__(self) -> int:
        return len(self.periods) + len(self.scales)

    def forward(self, samples: torch.Tensor) -> list[Verdict]:
        """On sounds ``float32[B, N]``."""
        return [judge(samples) for judge in (*self.periods, *self.scales)]


class PeriodDiscriminator(nn.Module):
    """Looks at every p-th sample: columns of a period, as sequences of their own (a kernel of width 1 in the paper)."""

    def __init__(self, period: int, options: DiscriminatorOptions) -> None:
        super().__init__()
        self.period = period
        channels = (1, *options.period_channels)
        last = len(channels) - 2
        self.layers = nn.ModuleList(
            [
                weight_norm(nn.Conv1d(inputs, outputs, 5, 3 if index < last else 1, padding=2))
                for index, (inputs, outputs) in enumerate(pairwise(channels))
            ]
        )
        self.score = weight_norm(nn.Conv1d(channels[-1], 1, 3, padding=1))

    def forward(self, samples: torch.Tensor) -> Verdict:
        padded = F.pad(samples, (0, -samples.shape[1] % self.period))
        columns = padded.unflatten(1, (-1, self.period)).transpose(1, 2)
        return _judge(columns.reshape(-1, 1, columns.shape[2]), self.layers, self.score)


class ScaleDiscriminator(nn.Module):
    """Looks at the sound, averaged `scale` times by 2; the first has spectral instead of weight normalisation."""

    def __init__(self, scale: int, options: DiscriminatorOptions) -> None:
        super().__init__()
        self.scale = scale
        normed = weight_norm if scale else spectral_norm
        channels = (1, *options.scale_channels)
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(pairwise(channels)):
            kernel = options.scale_kernel if index else 15
            stride, groups = options.scale_strides[index], options.scale_groups[index]
            layers.append(normed(nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)))
        layers.append(normed(nn.Conv1d(channels[-1], channels[-1], 5, padding=2)))
        self.layers = nn.ModuleList(layers)
        self.score = normed(nn.Conv1d(channels[-1], 1, 3, padding=1))

    def forward(self, samples: torch.Tensor) -> Verdict:
        hidden = samples[:, None]
        for _ in range(self.scale):
            hidden = F.avg_pool1d(hidden, 4, 2, padding=2)
        return _judge(hidden, self.layers, self.score)


def _judge(signal: torch.Tensor, layers: nn.ModuleList, score: nn.Conv1d) -> Verdict:
    """On ``[B, 1, N]``."""
    features: list[torch.Tensor] = []
    hidden = channels_last(signal)
    for layer in layers:
        hidden = F.leaky_relu(convolve(layer, hidden), SLOPE)
        features.append(hidden)
    return convolve(score, hidden), features


def discriminator_loss(natural: Sequence[Verdict], made: Sequence[Verdict]) -> torch.Tensor:
    """Natural sounds should score 1 and made ones 0; summed over the discriminators."""
    terms = [
        (1 - one.float()).square().mean() + two.float().square().mean()
        for (one, _), (two, _) in zip(natural, made, strict=True)
    ]
    return torch.stack(terms).sum()


def generator_loss(made: Sequence[Verdict]) -> torch.Tensor:
    """Made sounds should score 1; summed over the discriminators."""
    return torch.stack([(1 - score.float()).square().mean() for score, _ in made]).sum()


def feature_loss(natural: Sequence[Verdict], made: Sequence[Verdict]) -> torch.Tensor:
    """Mean distance of hidden values, summed over layers and discriminators."""
    terms = [
        (one.detach().float() - two.float()).abs().mean()
        for (_, ones), (_, twos) in zip(natural, made, strict=True)
        for one, two in zip(ones, twos, strict=True)
    ]
    return torch.stack(terms).sum()
