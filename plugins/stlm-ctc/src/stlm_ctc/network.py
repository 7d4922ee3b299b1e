"""`Network`: mel frames to the log-probabilities of characters, by convolutions alone.

A strided convolution brings 100 frames a second down to 50 or 25; then come residual blocks of a depthwise convolution
over time and two linear layers with a GELU between them (the block of ConvNeXt, Liu et al., 2022; separable
convolutions for CTC: QuartzNet, Kriman et al., 2020). Norms run over the channels of one frame and padding is set to
zero before every convolution, so a batch gives what singles give; and since a frame sees only so far, a long recording
can be computed in overlapping pieces with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stlm.errors import ConfigError

STEM_REACH = 2  # mel frames to either side that the strided convolution adds to its stride


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Sizes of the network.

    Args:
        num_mels: bands of the mel spectrum.
        stride: mel frames (10 ms) per frame of the blocks.
        split: frames of characters made of one frame of the blocks; stride 4 and split 2 have the time resolution of
            stride 2 for half the blocks' work.
        width: channels.
        layers: residual blocks.
        kernel: frames that one block sees, odd.
        expansion: width of the layer inside a block, in widths.
        dropout: share of channels that a block's result loses over a whole recording, in training.
    """

    num_mels: int = 80
    stride: int = 2
    split: int = 1
    width: int = 512
    layers: int = 15
    kernel: int = 31
    expansion: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("num_mels", "stride", "split", "width", "layers", "kernel", "expansion"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel must be odd, so that a frame has a middle, got {self.kernel}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must lie in [0, 1), got {self.dropout}")

    @property
    def reach(self) -> int:
        """Mel frames to either side that decide a frame, rounded up to whole strides."""
        return self.stride * (self.layers * (self.kernel // 2) + STEM_REACH)

    def num_frames(self, num_mel_frames: int) -> int:
        """Frames of characters."""
        return -(-num_mel_frames // self.stride) * self.split


class Network(nn.Module):
    """Mel frames ``float32[B, T, M]`` to log-probabilities ``float32[B, T / stride * split, V]``."""

    def __init__(self, options: NetworkOptions, num_symbols: int) -> None:
        super().__init__()
        self.options = options
        seen = options.stride + 2 * STEM_REACH
        self.stem = nn.Conv1d(options.num_mels, options.width, seen, stride=options.stride)
        self.blocks = nn.ModuleList([Block(options) for _ in range(options.layers)])
        self.norm = nn.LayerNorm(options.width)
        self.head = nn.Linear(options.width, options.split * num_symbols)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities, and how many of them each row has.

        Args:
            features: ``float32[B, T, M]``.
            lengths: ``int64[B]``, frames of each row; what lies beyond does not matter.
        """
        T = features.shape[1]
        features = features * _mask(lengths, T)
        padded = F.pad(features, (0, 0, STEM_REACH, STEM_REACH + -T % self.options.stride))
        x = self.stem(padded.transpose(1, 2)).transpose(1, 2)
        lengths = torch.div(lengths + self.options.stride - 1, self.options.stride, rounding_mode="floor")
        mask = _mask(lengths, x.shape[1])
        for block in self.blocks:
            x = block(x, mask)
        scores = self.head(self.norm(x)).float().unflatten(-1, (self.options.split, -1)).flatten(1, 2)
        return scores.log_softmax(-1), lengths * self.options.split


class Block(nn.Module):
    """A residual block; ``[B, T, C]`` in and out."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        C, hidden = options.width, options.expansion * options.width
        self.over_time = nn.Conv1d(C, C, options.kernel, padding=options.kernel // 2, groups=C)
        self.norm = nn.LayerNorm(C)
        self.wide = nn.Linear(C, hidden)
        self.narrow = nn.Linear(hidden, C)
        self.dropout = options.dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.over_time((x * mask).transpose(1, 2)).transpose(1, 2)
        y = self.narrow(F.gelu(self.wide(self.norm(y))))
        return x + F.dropout1d(y.transpose(1, 2), self.dropout, self.training).transpose(1, 2)


def _mask(lengths: Tensor, T: int) -> Tensor:
    """``float32[B, T, 1]``: 1 within each row's length."""
    return (torch.arange(T, device=lengths.device) < lengths[:, None])[..., None].float()
