"""Strided convolutions from a waveform to frames, as matrix products over rows of channels.

A wave of N samples gives ``[T, C]``. Channels lie next to each other, so a convolution whose kernel equals its stride
is a matrix product of the array as it stands. For three taps at stride two, two neighbouring outputs share one input,
and with the sum of the outer taps' weights they take five products instead of six (Winograd's minimal filtering,
F(2, 2)). bfloat16 takes all six: differences of rounded inputs, rounded again, cost a quarter more error for 5 % of the
time. The group norm after the first convolution, of one channel a group, is folded into that convolution: mean and
variance of a channel follow from those of the windows, a vector and a small matrix, so that no padding and no neighbour
enters them. All that follows is local in time, and the fast part of it runs in blocks that stay in the cache.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from stlm.learn.linear import Linear

BLOCK = 200  # rows out of the fast part at once; 100 to 2500 are within 4 % on Zen 4, and memory stays small
BLOCKED = 80  # samples a row: layers up to this stride run in blocks, all but a twentieth of the work
WINDOWS = 512
STATISTICS_BLOCK = 1 << 16


class SpeechFrontEnd:
    """The feature extractor of a Hugging Face HuBERT or wav2vec2 model.

    Args:
        convolutions: its layers, with group norm on the first or layer norm on each.
        dtype: of the products of the layers up to `rounded_stride`, float32 or bfloat16. The first convolution and
            the other layers are float32: later ones cost little and bring in most of the rounding error.
        device: where to compute.
        rounded_stride: samples from row to row of the last layer that is of `dtype`.
    """

    def __init__(
        self,
        convolutions: Iterable[nn.Module],
        *,
        dtype: torch.dtype,
        device: torch.device,
        rounded_stride: int = BLOCKED,
    ) -> None:
        first, *rest = convolutions
        self._first = _FirstConvolution(first, device)
        self._device = device
        self._sizes = [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in [first, *rest]]
        strides = list(itertools.accumulate((stride for _, stride in self._sizes), operator.mul))
        fast = max(1, sum(stride <= BLOCKED for stride in strides))
        dtypes = [dtype if stride <= rounded_stride else torch.float32 for stride in strides[1:]]
        layers = [_Convolution(layer, kind, device) for layer, kind in zip(rest, dtypes, strict=True)]
        self._fast, self._slow = layers[: fast - 1], layers[fast - 1 :]
        self._fast_hop, self.hop = strides[fast - 1], strides[-1]

    @property
    def window(self) -> int:
        """Samples that one frame sees."""
        window = 1
        for kernel, stride in reversed(self._sizes):
            window = (window - 1) * stride + kernel
        return window

    def num_frames(self, num_samples: int) -> int:
        return max(0, (num_samples - self.window) // self.hop + 1)

    def __call__(self, wave: torch.Tensor) -> torch.Tensor:
        """Frames ``float32[T, C]`` of one wave, ``float32[N]`` on the device."""
        T = self.num_frames(len(wave))
        first = self._first.fitted_to(wave)
        total = _counts(self._slow, T)[0]
        step = BLOCK if self._device.type == "cpu" else total
        blocks = [self._fast_rows(wave, begin, min(step, total - begin), first) for begin in range(0, total, step)]
        return _run(self._slow, torch.cat(blocks), T).float()

    def _fast_rows(
        self, wave: torch.Tensor, begin: int, count: int, first: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Rows `begin` to `begin + count` of the fast part's result; zeros stand for samples after the wave."""
        kernel, stride = self._sizes[0]
        needed = _counts(self._fast, count)[0]
        samples = wave[begin * self._fast_hop :][: (needed - 1) * stride + kernel]
        windows = F.pad(samples, (0, (needed - 1) * stride + kernel - len(samples))).unfold(0, kernel, stride)
        dtype = self._fast[0].dtype if self._fast else torch.float32
        rows = torch.cat([first(part).to(dtype) for part in windows.split(WINDOWS)])
        return _run(self._fast, rows, count)


def _counts(convolutions: Sequence[_Convolution], count: int) -> list[int]:
    """Rows before, between and after convolutions of which `count` rows are wanted."""
    counts = [count]
    for convolution in reversed(convolutions):
        counts.insert(0, convolution.rows_in(convolution.rows_out(counts[0])))
    return counts


def _run(convolutions: Sequence[_Convolution], rows: torch.Tensor, count: int) -> torch.Tensor:
    """The first `count` rows of what convolutions make of `rows`; may write into `rows`."""
    for convolution, wanted in zip(convolutions, _counts(convolutions, count)[1:], strict=True):
        rows = convolution(rows.to(convolution.dtype), convolution.rows_out(wanted))[:wanted]
    return rows


class _FirstConvolution:
    """One channel in; owns the norm that depends on the whole wave."""

    def __init__(self, layer: Any, device: torch.device) -> None:
        convolution: nn.Conv1d = layer.conv
        self._weight = convolution.weight.detach().double()[:, 0].to(device)  # [C, taps]
        self._bias = None if convolution.bias is None else convolution.bias.detach().float().to(device)
        self._stride = convolution.stride[0]
        self._activation = layer.activation
        norm = layer.layer_norm
        self._group_norm = isinstance(norm, nn.GroupNorm)
        self._eps = norm.eps
        self._norm = [tensor.detach().float().to(device) for tensor in (norm.weight, norm.bias)]

    def fitted_to(self, wave: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from windows ``[T, taps]`` to ``float32[T, C]`` for one wave."""
        if not self._group_norm:
            return self._with_layer_norm
        mean, covariance = _moments(wave.unfold(0, self._weight.shape[1], self._stride))
        variance = ((self._weight @ covariance) * self._weight).sum(1).clamp_min(0)
        scale = self._norm[0].double() / (variance + self._eps).sqrt()
        weight = (self._weight * scale[:, None]).float().T.contiguous()
        bias = (self._norm[1].double() - (self._weight @ mean) * scale).float()
        return lambda windows: self._activation(torch.addmm(bias, windows, weight))

    def _with_layer_norm(self, windows: torch.Tensor) -> torch.Tensor:
        rows = F.linear(windows, self._weight.float(), self._bias)
        return self._activation(F.layer_norm(rows, rows.shape[1:], *self._norm, self._eps))


def _moments(windows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean ``float64[taps]`` and covariance ``float64[taps, taps]`` of windows ``[T, taps]``."""
    mean = sum(block.double().sum(0) for block in windows.split(STATISTICS_BLOCK)) / len(windows)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=windows.device)
    for block in windows.split(STATISTICS_BLOCK):
        centred = block.double() - mean
        covariance += centred.T @ centred
    return mean, covariance / len(windows)


class _Convolution:
    """Many channels in; rows ``[T, C]`` to rows."""

    def __init__(self, layer: Any, dtype: torch.dtype, device: torch.device) -> None:
        convolution: nn.Conv1d = layer.conv
        self.kernel, self.stride, self.dtype = convolution.kernel_size[0], convolution.stride[0], dtype
        self._activation = layer.activation
        norm = getattr(layer, "layer_norm", None)
        self._norm = (
            None if norm is None else [tensor.detach().to(device, dtype) for tensor in (norm.weight, norm.bias)]
        )
        self._eps = 0.0 if norm is None else norm.eps
        weight, bias = convolution.weight.detach().float(), convolution.bias

        def linear(taps: list[torch.Tensor], bias: torch.Tensor | None = None) -> Linear:
            return Linear(torch.cat(taps, 1), bias, dtype=dtype, device=device)

        taps = list(weight.unbind(2))
        self.shares = (self.kernel, self.stride, dtype) == (3, 2, torch.float32)
        if self.shares:
            self._both = linear([taps[0] + taps[2]], bias)
            self._even, self._odd = linear([taps[0], taps[1]]), linear([taps[2], taps[1]])
        else:
            self._all = linear(taps, bias)

    def rows_in(self, count: int) -> int:
        return (count - 1) * self.stride + self.kernel

    def rows_out(self, count: int) -> int:
        """How many rows to compute where `count` are wanted: neighbours that share a product come in twos."""
        return count + count % 2 if self.shares else count

    def __call__(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """The first `count` output rows; may write into `rows`."""
        if self.shares:
            return self._in_pairs(rows, count)
        if self.kernel == self.stride:
            windows = rows[: count * self.stride].reshape(count, -1)
        else:
            windows = rows.unfold(0, self.kernel, self.stride)[:count].transpose(1, 2).reshape(count, -1)
        return self._finish(self._all(windows))

    def _in_pairs(self, rows: torch.Tensor, count: int) -> torch.Tensor:
        """``y0 = a x0 + b x1 + c x2`` and ``y1 = a x2 + b x3 + c x4`` with one product of x2."""
        pairs = count // 2
        fours = rows[: 4 * pairs].view(pairs, 4, -1)
        shared = self._both(fours[:, 2])
        ahead = rows[4::4][:pairs] - fours[:, 2]
        fours[:, 0] -= fours[:, 2]
        fours[:, 2] = ahead
        even = self._even.plus(fours[:, :2].flatten(1), shared)
        odd = self._odd.plus(fours[:, 2:].flatten(1), shared)
        return torch.stack([self._finish(even), self._finish(odd)], 1).view(count, -1)

    def _finish(self, rows: torch.Tensor) -> torch.Tensor:
        if self._norm is not None:
            rows = F.layer_norm(rows, rows.shape[1:], *self._norm, self._eps)
        return self._activation(rows)
