"""The VQ-VAE over pitch: one level of Jukebox's (Dhariwal et al., 2020), small enough for a phone.

``[B, 2, T']`` of F0 and voicing goes through strided convolutions with dilated residual blocks between them to
``[B, E, T' // ratio]``; the nearest entry of the codebook is the unit. Names of modules are those of the official
checkpoint layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from stlm.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """Sizes of the encoder, or of the decoder that mirrors it.

    Args:
        input_width: channels of the contour: F0 and voicing.
        output_width: channels of a latent frame.
        downs: strided convolutions; together they make ``stride ** downs`` frames one.
        stride: of each; its kernel is twice as long.
        width: channels within.
        depth: residual blocks after each strided convolution.
        m_conv: channels within a residual block, as a multiple of `width`.
        dilation_growth_rate: dilation of block d is this to the power of d.
    """

    input_width: int
    output_width: int
    downs: int
    stride: int
    width: int
    depth: int
    m_conv: float
    dilation_growth_rate: int

    def __post_init__(self) -> None:
        if self.stride % 2:
            raise FormatError(f"strides_t is [{self.stride}], expected an even stride: odd ones lose frames at the end")
        if int(self.m_conv * self.width) < 1:
            raise FormatError(f"m_conv {self.m_conv} of width {self.width} leaves no channel, expected at least one")

    @property
    def ratio(self) -> int:
        """Contour frames per unit."""
        return self.stride**self.downs


@dataclass(frozen=True, slots=True, kw_only=True)
class VqvaeOptions:
    """Sizes of a VQ-VAE.

    Args:
        encoder, decoder: its two stacks.
        num_units: entries of the codebook (``l_bins``).
        emb_width: their dimensions.
    """

    encoder: StackOptions
    decoder: StackOptions
    num_units: int
    emb_width: int

    def __post_init__(self) -> None:
        widths = [self.emb_width, self.encoder.output_width, self.decoder.output_width]
        if len(set(widths)) > 1:
            raise FormatError(
                f"vq_params.emb_width and output_emb_width of encoder_params and decoder_params are {widths}, "
                "expected three equal numbers"
            )
        if self.num_units > 1 << 16:
            raise FormatError(f"vq_params.l_bins is {self.num_units}, expected at most {1 << 16}: codes are uint16")
        if self.encoder.ratio != self.decoder.ratio:
            raise FormatError(
                f"downs_t and strides_t make {self.encoder.ratio} frames one in encoder_params and "
                f"{self.decoder.ratio} in decoder_params, expected the same"
            )


class Vqvae(nn.Module):
    """Encoder, codebook and decoder."""

    def __init__(self, options: VqvaeOptions) -> None:
        super().__init__()
        self.options = options
        self.encoder = Encoder(options.encoder)
        self.vq = Codebooks(options.num_units, options.emb_width)
        self.decoder = Decoder(options.decoder)

    def encode(self, contour: torch.Tensor) -> torch.Tensor:
        """Latents ``float32[B, E, T' // ratio]`` of contours ``float32[B, 2, T']``."""
        return self.encoder(contour)

    def quantize(self, latents: torch.Tensor) -> torch.Tensor:
        """Nearest codes ``int64[B, T]`` of latents ``float32[B, E, T]``; the first of equals.

        Distances are ``|z|^2 - 2 z e + |e|^2`` in float32, the official form: which of two nearly equal entries is
        nearer hangs on it.
        """
        z, entries = latents.transpose(1, 2).flatten(0, 1), self.vq.level_blocks[0].k.T
        distance = z.square().sum(-1, keepdim=True) - 2 * (z @ entries) + entries.square().sum(0, keepdim=True)
        return distance.argmin(-1).view(latents.shape[0], -1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Contours ``float32[B, 2, T * ratio]`` of codes ``int64[B, T]``."""
        return self.decoder(self.vq.level_blocks[0].k[codes].transpose(1, 2))


class Encoder(nn.Module):
    """Strided convolutions, each followed by residual blocks."""

    def __init__(self, options: StackOptions) -> None:
        super().__init__()
        inputs = [options.input_width] + [options.width] * (options.downs - 1)
        steps = [nn.Sequential(_down(options, channels), ResidualBlocks(options)) for channels in inputs]
        self.level_blocks = nn.ModuleList([Level(*steps, _conv3(options.width, options.output_width))])

    def forward(self, contour: torch.Tensor) -> torch.Tensor:
        return self.level_blocks[0].model(contour)


class Decoder(nn.Module):
    """The encoder's mirror."""

    def __init__(self, options: StackOptions) -> None:
        super().__init__()
        outputs = [options.width] * (options.downs - 1) + [options.output_width]
        steps = [nn.Sequential(ResidualBlocks(options), _up(options, channels)) for channels in outputs]
        self.level_blocks = nn.ModuleList([Level(_conv3(options.output_width, options.width), *steps)])
        self.out = _conv3(options.output_width, options.input_width)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.out(self.level_blocks[0].model(latents))


class Codebooks(nn.Module):
    """One codebook per level; there is one level."""

    def __init__(self, num_units: int, width: int) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList([Codebook(num_units, width)])


class Codebook(nn.Module):
    """Entries ``k: float32[num_units, E]``; a buffer, because moving averages and no gradients move them."""

    def __init__(self, num_units: int, width: int) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros(num_units, width))


class Level(nn.Module):
    """Steps in a row, under the name that the checkpoint gives them."""

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*steps)


class ResidualBlocks(Level):
    """`depth` blocks with growing dilation."""

    def __init__(self, options: StackOptions) -> None:
        growth = options.dilation_growth_rate
        super().__init__(*(ResidualBlock(options, growth**block) for block in range(options.depth)))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model(hidden)


class ResidualBlock(Level):
    """``x + Conv1(ReLU(Conv3(ReLU(x))))``."""

    def __init__(self, options: StackOptions, dilation: int) -> None:
        inner = int(options.m_conv * options.width)
        super().__init__(
            nn.ReLU(),
            nn.Conv1d(options.width, inner, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(inner, options.width, 1),
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.model(hidden)


def _conv3(inputs: int, outputs: int) -> nn.Conv1d:
    return nn.Conv1d(inputs, outputs, 3, padding=1)


def _down(options: StackOptions, channels: int) -> nn.Conv1d:
    stride = options.stride
    return nn.Conv1d(channels, options.width, 2 * stride, stride, padding=stride // 2)


def _up(options: StackOptions, channels: int) -> nn.ConvTranspose1d:
    stride = options.stride
    return nn.ConvTranspose1d(options.width, channels, 2 * stride, stride, padding=stride // 2)
