"""The fast way through a generator: stretches of frames, in bounded memory, equal to the whole.

Three things make it faster than the module. Hidden values lie in memory as ``[T, C]`` (channels last), so that every
convolution runs as it is, without reordering. A transposed convolution of rate r becomes a plain one with r times the
output channels, one group for each of the r samples that a frame becomes, and a free reshape. And the values of a
stretch stay in the cache.

A stretch reads as many values on both sides as the convolutions reach (`Decoder.ranges`), and every stage drops what
later stages do not need. Zeros are padded at the true ends alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from stlm_hifigan.excitation import Excitation
from stlm_hifigan.generator import LAST_SLOPE, SLOPE, Generator, ResidualBlock

Range = tuple[int, int]
"""First and last + 1."""
BLOCK_VALUES = 1 << 20
"""Values of a stage at once on a CPU: 4 MB; with more, cache misses and fresh pages cost a fifth (measured)."""


class Decoder:
    """A generator's weights, ready to run.

    Args:
        generator: whose weights to use.
        device: where to compute.
        dtype: float32, or bfloat16 for everything but the last convolution.
        block_values: on the CPU, a stage that would make more values than this is run in parts, together with all
            stages after it.
    """

    def __init__(
        self,
        generator: Generator,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        block_values: int = BLOCK_VALUES,
    ) -> None:
        blocks = len(generator.options.resblock_kernels)
        self._device, self._dtype = torch.device(device), dtype
        self._pre = _Conv.of(generator.conv_pre, self._device, dtype)
        self._post = _Conv.of(generator.conv_post, self._device, torch.float32)
        sources = list(generator.sources) if generator.options.excitation else [None] * len(generator.ups)
        self._stages = [
            _Stage.of(up, generator.resblocks[stage * blocks : (stage + 1) * blocks], source, self._device, dtype)
            for stage, (up, source) in enumerate(zip(generator.ups, sources, strict=True))
        ]
        self._hop = generator.options.hop
        self._most = block_values if self._device.type == "cpu" else sys.maxsize

    @torch.inference_mode()
    def decode(
        self,
        joined: Callable[[int, int], torch.Tensor],
        first: int,
        last: int,
        total: int,
        excitation: Excitation | None = None,
    ) -> torch.Tensor:
        """Samples ``float32[(last - first) * hop]`` of the frames ``first:last`` of `total`.

        Args:
            joined: the joined embeddings ``[C, T]`` of a range of frames; asked for a few more than wanted.
            first, last: which frames.
            total: how many there are.
            excitation: of all of them, where the generator starts from one.
        """
        wanted = (first * self._hop, last * self._hop)
        needed = self.ranges(wanted, total)[0]
        read = _widened(needed, self._pre.reach, total)
        frames = joined(*read).to(self._device, self._dtype)[None, :, None]
        with torch.backends.cudnn.flags(allow_tf32=False):
            hidden = self._pre(frames.contiguous(memory_format=torch.channels_last))
            return self._onward(0, _cut(hidden, read, needed), needed, wanted, total, excitation)

    def ranges(self, wanted: Range, total: int) -> list[Range]:
        """What each stage must read, and last what the last one must make, for a range of samples of `total` frames."""
        length = total * self._hop
        ranges = [_widened(wanted, self._post.reach, length)]
        for stage in reversed(self._stages):
            ranges.append(stage.inputs(ranges[-1], length))
            length //= stage.rate
        return ranges[::-1]

    def _onward(
        self, index: int, hidden: torch.Tensor, have: Range, wanted: Range, total: int, excitation: Excitation | None
    ) -> torch.Tensor:
        """The wanted samples from what a stage reads, all stages from `index` on; in parts where they are large."""
        ranges = self.ranges(wanted, total)
        hidden = _cut(hidden, have, ranges[index])
        if index == len(self._stages):
            samples = torch.tanh_(self._post(F.leaky_relu(hidden.float(), LAST_SLOPE)))
            made = _cut(samples, ranges[index], wanted)[0, 0, 0]
            return made if excitation is None else made + excitation(*wanted)[0].sum(0).to(made)
        stage = self._stages[index]
        parts = -(-hidden.shape[-1] * stage.values_per_input // self._most)
        if parts > 1 and wanted[1] - wanted[0] > self._hop:
            cuts = [wanted[0] + (wanted[1] - wanted[0]) * part // parts for part in range(parts + 1)]
            ways = (self._onward(index, hidden, ranges[index], part, total, excitation) for part in pairwise(cuts))
            return torch.cat(list(ways))
        made = stage.run(hidden, ranges[index], ranges[index + 1], excitation)
        return self._onward(index + 1, made, ranges[index + 1], wanted, total, excitation)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conv:
    """A convolution over time that keeps the length, on ``[1, C, 1, T]`` in channels-last memory."""

    weight: torch.Tensor
    bias: torch.Tensor
    dilation: int

    @classmethod
    def of(cls, conv: nn.Conv1d, device: torch.device, dtype: torch.dtype) -> _Conv:
        assert conv.bias is not None
        return cls.make(conv.weight, conv.bias, conv.dilation[0], device, dtype)

    @classmethod
    def make(
        cls, weight: torch.Tensor, bias: torch.Tensor, dilation: int, device: torch.device, dtype: torch.dtype
    ) -> _Conv:
        placed = weight.detach()[:, :, None].to(device, dtype).contiguous(memory_format=torch.channels_last)
        return cls(weight=placed, bias=bias.detach().to(device, dtype), dilation=dilation)

    @property
    def reach(self) -> int:
        """Inputs on each side that an output sees."""
        return self.dilation * (self.weight.shape[-1] - 1) // 2

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.conv2d(hidden, self.weight, self.bias, padding=(0, self.reach), dilation=(1, self.dilation))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Brings the excitation to the rate of a stage."""

    weight: torch.Tensor
    bias: torch.Tensor
    stride: int
    reach: int

    @classmethod
    def of(cls, conv: nn.Conv1d, device: torch.device, dtype: torch.dtype) -> _Source:
        plain = _Conv.of(conv, device, dtype)
        return cls(weight=plain.weight, bias=plain.bias, stride=conv.stride[0], reach=int(conv.padding[0]))

    def __call__(self, excitation: Excitation, wanted: Range) -> torch.Tensor:
        """A range of values at the rate of the stage."""
        samples = excitation(wanted[0] * self.stride - self.reach, wanted[1] * self.stride + self.reach)
        samples = samples[:, :, None].to(self.weight).contiguous(memory_format=torch.channels_last)
        return F.conv2d(samples, self.weight, self.bias, stride=(1, self.stride))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """An upsampling, what the excitation adds, and the residual blocks after it."""

    rate: int
    up: _Conv
    source: _Source | None
    blocks: tuple[tuple[tuple[_Conv, _Conv], ...], ...]

    @classmethod
    def of(
        cls,
        up: nn.ConvTranspose1d,
        blocks: Sequence[ResidualBlock],
        source: nn.Conv1d | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> _Stage:
        def pairs(block: ResidualBlock) -> tuple[tuple[_Conv, _Conv], ...]:
            both = zip(block.convs1, block.convs2, strict=True)
            return tuple((_Conv.of(one, device, dtype), _Conv.of(two, device, dtype)) for one, two in both)

        assert up.bias is not None
        rate = up.stride[0]
        weight = phases(up.weight.detach(), rate, up.padding[0])
        conv = _Conv.make(weight, up.bias.repeat(rate), 1, device, dtype)
        added = None if source is None else _Source.of(source, device, dtype)
        return cls(rate=rate, up=conv, source=added, blocks=tuple(map(pairs, blocks)))

    @property
    def values_per_input(self) -> int:
        """Values in memory that one time step of its input becomes."""
        return self.up.weight.shape[0]

    @property
    def reach(self) -> int:
        """Upsampled values on each side that an output sees through the widest residual block."""
        return max(sum(one.reach + two.reach for one, two in block) for block in self.blocks)

    def inputs(self, wanted: Range, length: int) -> Range:
        """Inputs that the wanted outputs need, of all `length` outputs."""
        first, last = _widened(wanted, self.reach, length)
        return _widened((first // self.rate, -(-last // self.rate)), self.up.reach, length // self.rate)

    def run(self, hidden: torch.Tensor, have: Range, wanted: Range, excitation: Excitation | None) -> torch.Tensor:
        """Outputs of a range, from inputs of the range that `inputs` named for it."""
        up = self.up(F.leaky_relu(hidden, SLOPE))
        T, C = up.shape[-1], up.shape[1] // self.rate
        up = up.permute(0, 2, 3, 1).reshape(1, 1, T * self.rate, C).permute(0, 3, 1, 2)
        have = (have[0] * self.rate, have[1] * self.rate)
        if self.source is not None and excitation is not None:
            up = up + self.source(excitation, have)
        total = self._block(self.blocks[0], up)
        for block in self.blocks[1:]:
            total.add_(self._block(block, up))
        return _cut(total.div_(len(self.blocks)), have, wanted)

    @staticmethod
    def _block(pairs: tuple[tuple[_Conv, _Conv], ...], hidden: torch.Tensor) -> torch.Tensor:
        for one, two in pairs:
            change = two(F.leaky_relu_(one(F.leaky_relu(hidden, SLOPE)), SLOPE))
            hidden = change.add_(hidden)
        return hidden


def phases(weight: torch.Tensor, rate: int, padding: int) -> torch.Tensor:
    """A transposed convolution as a plain one: ``[rate * O, I, taps]`` from ``[I, O, kernel]``.

    Output ``t * rate + r`` of the one is output t, channel ``r * O + o`` of the other. Tap ``reach + d`` reads input
    ``t + d``, which meets element ``r + padding - d * rate`` of the kernel.
    """
    inputs, outputs, kernel = weight.shape
    reach = max(-(-(kernel - 1 - padding) // rate), (rate - 1 + padding) // rate, 0)
    plain = weight.new_zeros(rate, outputs, inputs, 2 * reach + 1)
    for r in range(rate):
        for d in range(-reach, reach + 1):
            element = r + padding - d * rate
            if 0 <= element < kernel:
                plain[r, :, :, reach + d] = weight[:, :, element].T
    return plain.reshape(rate * outputs, inputs, 2 * reach + 1)


def _widened(wanted: Range, reach: int, length: int) -> Range:
    """With `reach` more on both sides, within ``0:length``."""
    return max(0, wanted[0] - reach), min(length, wanted[1] + reach)


def _cut(hidden: torch.Tensor, have: Range, wanted: Range) -> torch.Tensor:
    """The wanted part of the values of a range."""
    return hidden[..., wanted[0] - have[0] : wanted[1] - have[0]]
