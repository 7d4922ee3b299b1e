"""A start for the first convolution: band-pass filters evenly spaced on the mel scale, free to change from there.

Each band has a Gabor filter and its quadrature (Zeghidour et al., "LEAF: a learnable frontend for audio
classification", 2021, section 3.1, who start from such filters too), each with both signs, so that the activation that
follows rectifies both halves of a wave. A wide kernel is needed: ten samples, as in the published models, hold no
period of a formant.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from stlm.errors import ConfigError

SAMPLE_RATE = 16000
F_MIN, F_MAX = 60.0, 7600.0
SHORTEST_KERNEL = 160  # samples: 10 ms
PHASES = 4


def start_as_filterbank(convolution: nn.Conv1d) -> None:
    """Fill the weight ``float32[C, 1, kernel]`` in place.

    Raises:
        ConfigError: the kernel is too short, or the channels do not make whole bands.
    """
    channels, _, kernel = convolution.weight.shape
    if kernel < SHORTEST_KERNEL or channels % PHASES or channels < 2 * PHASES:
        raise ConfigError(
            f"filterbank needs a first convolution of at least {SHORTEST_KERNEL} samples and {PHASES} channels for "
            f"each band, got a kernel of {kernel} and {channels} channels: change conv_kernel and conv_dim, or set "
            "filterbank=false"
        )
    filters = gabor_filters(channels // PHASES, kernel)
    with torch.no_grad():
        convolution.weight.copy_(torch.cat([filters, -filters])[:, None])


def gabor_filters(num_bands: int, kernel: int) -> torch.Tensor:
    """``float32[2 * num_bands, kernel]``: cosines, then sines, each of unit norm and about one mel band wide."""
    top, bottom = (2595 * math.log10(1 + hertz / 700) for hertz in (F_MAX, F_MIN))
    edges = 700 * (10 ** (torch.linspace(bottom, top, num_bands + 2, dtype=torch.float64) / 2595) - 1)
    centres, widths = edges[1:-1, None], (edges[2:] - edges[:-2])[:, None] / 2
    time = (torch.arange(kernel, dtype=torch.float64) - (kernel - 1) / 2) / SAMPLE_RATE
    deviation = (math.sqrt(2 * math.log(2)) / (math.pi * widths)).clamp_max(kernel / SAMPLE_RATE / 5)
    envelope = torch.exp(-0.5 * (time / deviation).square())
    waves = torch.cat(
        [envelope * torch.cos(2 * math.pi * centres * time), envelope * torch.sin(2 * math.pi * centres * time)]
    )
    return (waves / waves.norm(dim=1, keepdim=True)).float()
