"""The generator: embedded units to samples (Kong et al., "HiFi-GAN", 2020; Polyak et al., "Speech resynthesis", 2021).

The textbook module, whole and differentiable, with the names of the official checkpoint layout and plain weights
(weight normalisation folded). `stlm_hifigan.decoding` runs the same weights faster and in bounded memory. Hidden values
lie in memory channels last, as ``[B, C, 1, T]``, which halves the time of a pass forth and back on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import nn
from torch.nn import functional as F

from stlm.errors import FormatError
from stlm_hifigan.conditioning import SPEAKER
from stlm_hifigan.excitation import CHANNELS, RANGE_HZ, Excitation, ExcitationOptions, Predictor

SLOPE = 0.1
"""Leaky ReLU within the stages (HiFi-GAN)."""
LAST_SLOPE = 0.01
"""Leaky ReLU before the last convolution (HiFi-GAN leaves PyTorch's default there)."""
TABLES = ("dict", "f0_dict", "style_dict", "spkr", "style")
"""Embedding tables in the order in which their channels are joined; base has the first and the last two, expressive the
first four (official checkpoint layout)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorOptions:
    """Sizes of a generator.

    Args:
        tables: rows and width of each embedding table, by its name in `TABLES`.
        upsample_rates: samples that each stage makes of one.
        upsample_kernels: kernel of each stage's transposed convolution.
        initial_channels: channels before the first stage; each stage halves them.
        resblock_kernels: kernels of a stage's residual blocks, whose outputs are averaged.
        resblock_dilations: dilations within each of these blocks.
        duration: hidden width and kernel of the duration predictor, or None without one.
        excitation: sizes of what predicts the pulses and noise that a generator starts from, or None for one that makes
            its tone itself (the official ones).
    """

    tables: Mapping[str, tuple[int, int]]
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    initial_channels: int
    resblock_kernels: tuple[int, ...]
    resblock_dilations: tuple[tuple[int, ...], ...]
    duration: tuple[int, int] | None = None
    excitation: ExcitationOptions | None = None

    def __post_init__(self) -> None:
        if len(self.upsample_rates) != len(self.upsample_kernels):
            raise FormatError(
                f"upsample_rates has {len(self.upsample_rates)} entries and upsample_kernel_sizes "
                f"{len(self.upsample_kernels)}, expected equally many"
            )
        if len(self.resblock_kernels) != len(self.resblock_dilations):
            raise FormatError(
                f"resblock_kernel_sizes has {len(self.resblock_kernels)} entries and resblock_dilation_sizes "
                f"{len(self.resblock_dilations)}, expected equally many"
            )
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise FormatError(
                    f"upsample_kernel_sizes: {kernel} with rate {rate}, expected the rate plus an even number: other "
                    "kernels do not give rate times as many samples"
                )
        even = [kernel for kernel in self.resblock_kernels if kernel % 2 == 0]
        if even:
            raise FormatError(f"resblock_kernel_sizes: {even[0]}, expected odd kernels: even ones lose samples")
        if self.initial_channels % 2 ** len(self.upsample_rates):
            raise FormatError(
                f"upsample_initial_channel is {self.initial_channels}, expected a multiple of "
                f"{2 ** len(self.upsample_rates)}: {len(self.upsample_rates)} stages halve it"
            )
        if self.excitation is not None and self.hop % self.excitation.frames:
            raise FormatError(
                f"excitation has {self.excitation.frames} frames for a unit of {self.hop} samples, expected a divisor"
            )

    @property
    def hop(self) -> int:
        """Samples per unit."""
        return prod(self.upsample_rates)

    @property
    def input_width(self) -> int:
        """Channels of the joined embeddings."""
        return sum(width for _, width in self.tables.values())

    def channels_of(self, table: str) -> slice:
        """Of the joined embeddings, those of one table; none where there is no such table."""
        widths = {name: width for name, (_, width) in self.tables.items()}
        first = sum(widths[name] for name in list(widths)[: list(widths).index(table)]) if table in widths else 0
        return slice(first, first + widths.get(table, 0))

    def samples(self, stage: int) -> int:
        """Samples for each value that a stage makes."""
        return prod(self.upsample_rates[stage + 1 :])

    def channels(self, stage: int) -> int:
        """Channels that a stage makes; stage -1 is what precedes the first."""
        return self.initial_channels >> (stage + 1)


class Generator(nn.Module):
    """Embedding tables, convolutions, and a duration predictor where there is one."""

    def __init__(self, options: GeneratorOptions) -> None:
        super().__init__()
        self.options = options
        for name, (rows, width) in options.tables.items():
            self.add_module(name, nn.Embedding(rows, width))
        stages = range(len(options.upsample_rates))
        self.conv_pre = nn.Conv1d(options.input_width, options.initial_channels, 7, padding=3)
        self.ups = nn.ModuleList([_upsampling(options, stage) for stage in stages])
        self.resblocks = nn.ModuleList(
            [
                ResidualBlock(options.channels(stage), kernel, dilations)
                for stage in stages
                for kernel, dilations in zip(options.resblock_kernels, options.resblock_dilations, strict=True)
            ]
        )
        self.conv_post = nn.Conv1d(options.channels(len(stages) - 1), 1, 7, padding=3)
        if options.duration is not None:
            self.dur_predictor = DurationPredictor(options.tables["dict"][1], *options.duration)
        if options.excitation is not None:
            self.predictor = Predictor(options.input_width, options.excitation, options.channels_of(SPEAKER))
            self.sources = nn.ModuleList([_source(options, stage) for stage in stages])

    def excitation(self, joined: torch.Tensor, *, is_known: bool = True) -> Excitation:
        """By the F0 that is predicted of joined embeddings ``float32[B, C, T]``, of a known speaker or without one."""
        pitch, gains = self.predictor(joined, is_known=None if is_known else joined.new_zeros(len(joined)))
        return self.excite(pitch.exp().clamp(*RANGE_HZ), gains)

    def excite(self, f0: torch.Tensor, gains: torch.Tensor, origin: torch.Tensor | None = None) -> Excitation:
        """By F0 in Hz, ``[B, T * frames]``, and gains as they are predicted."""
        options = self.predictor.options
        return Excitation.of(f0, gains, options, self.options.hop // options.frames, origin)

    def forward(self, joined: torch.Tensor, excitation: Excitation | None = None) -> torch.Tensor:
        """Samples ``float32[B, T * hop]`` of joined embeddings ``float32[B, C, T]``, and of the excitation where the
        generator starts from one."""
        voice = None if excitation is None else channels_last(excitation(0, joined.shape[2] * self.options.hop))
        hidden = convolve(self.conv_pre, channels_last(joined))
        blocks = len(self.options.resblock_kernels)
        for stage, up in enumerate(self.ups):
            hidden = _upsample(up, F.leaky_relu(hidden, SLOPE))
            if voice is not None:
                hidden = hidden + convolve(self.sources[stage], voice)
            parallel = [block(hidden) for block in self.resblocks[stage * blocks : (stage + 1) * blocks]]
            hidden = sum(parallel[1:], start=parallel[0]) / blocks
        made = torch.tanh(convolve(self.conv_post, F.leaky_relu(hidden, LAST_SLOPE)))[:, 0, 0]
        return made if voice is None else made + voice.sum(1)[:, 0]


class ResidualBlock(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair added to what it reads (type "1")."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList([_same(channels, kernel, dilation) for dilation in dilations])
        self.convs2 = nn.ModuleList([_same(channels, kernel, 1) for _ in dilations])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            change = F.leaky_relu(convolve(dilated, F.leaky_relu(hidden, SLOPE)), SLOPE)
            hidden = hidden + convolve(plain, change)
        return hidden


class DurationPredictor(nn.Module):
    """Frames per unit, from the units alone."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv1d(width, hidden, kernel, padding=(kernel - 1) // 2), nn.ReLU())
        self.ln1 = nn.LayerNorm(hidden)
        self.conv2 = nn.Sequential(nn.Conv1d(hidden, hidden, kernel, padding=1), nn.ReLU())
        self.ln2 = nn.LayerNorm(hidden)
        self.proj = nn.Linear(hidden, 1)

    def forward(self, embedded: torch.Tensor) -> torch.Tensor:
        """``log(frames + 1)`` as ``float32[B, N]``, of embedded units ``float32[B, N, C]``."""
        hidden = self.ln1(self.conv1(embedded.transpose(1, 2)).transpose(1, 2))
        hidden = self.ln2(self.conv2(hidden.transpose(1, 2)).transpose(1, 2))
        return self.proj(hidden)[..., 0]


def frames_of(log_frames: torch.Tensor) -> torch.Tensor:
    """Whole frames, at least one: ``int64`` of the same shape. Halves round to even (official vocoder)."""
    return (torch.exp(log_frames) - 1).round().clamp(min=1).long()


def channels_last(hidden: torch.Tensor) -> torch.Tensor:
    """``[B, C, 1, T]`` in channels-last memory, of ``[B, C, T]``."""
    return hidden[:, :, None].contiguous(memory_format=torch.channels_last)


def convolve(layer: nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
    """A convolution over time on ``[B, C, 1, T]``, which stays channels last."""
    stride, padding, dilation = (1, layer.stride[0]), (0, int(layer.padding[0])), (1, layer.dilation[0])
    return F.conv2d(hidden, layer.weight[:, :, None], layer.bias, stride, padding, dilation, layer.groups)


def _upsample(layer: nn.ConvTranspose1d, hidden: torch.Tensor) -> torch.Tensor:
    stride, padding = (1, layer.stride[0]), (0, int(layer.padding[0]))
    return F.conv_transpose2d(hidden, layer.weight[:, :, None], layer.bias, stride, padding)


def _same(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)


def _upsampling(options: GeneratorOptions, stage: int) -> nn.ConvTranspose1d:
    rate, kernel = options.upsample_rates[stage], options.upsample_kernels[stage]
    inputs, outputs = options.channels(stage - 1), options.channels(stage)
    return nn.ConvTranspose1d(inputs, outputs, kernel, rate, padding=(kernel - rate) // 2)


def _source(options: GeneratorOptions, stage: int) -> nn.Conv1d:
    """Brings the excitation to the rate of a stage."""
    stride = options.samples(stage)
    kernel = 2 * stride + stride % 2
    return nn.Conv1d(CHANNELS, options.channels(stage), kernel, stride, padding=(kernel - stride) // 2)
