"""A voice before the generator refines it: pulses at a predicted pitch and noise, each through a predicted filter.

After the neural source-filter models (Wang et al., 2019), their use in HiFi-GAN with predicted F0 (Li et al.,
"HiFTNet", 2023) and the harmonic-plus-noise filters of DDSP (Engel et al., 2020). A small network reads the same
embeddings as the generator and says F0 and the gain of pulses and of noise in bands of frequency, some hundred times a
second. What comes of it is speech already; strided convolutions bring it to each stage of the generator, which adds
what it lacks. So a tone and its formants are learnt in minutes, where a generator alone takes days.

Ours: the pulses hold all harmonics at equal strength, in closed form; there are pulses in unvoiced sounds too, which
their gains silence, so nothing decides on voicing; and the noise is a function of the sample's number, so that any
stretch can be computed by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F

from stlm.errors import FormatError

CHANNELS = 2
"""Pulses and noise."""
USUAL_HZ = 150.0
"""F0 that an untrained predictor says."""
RANGE_HZ = (30.0, 1100.0)
HIGHEST = 0.45
"""Harmonics end there, as a share of the sample rate."""
START_GAIN = -3.0
"""Logarithm of the gain of an untrained filter: speech has about this level."""
GAIN_RANGE = 10.0
"""How far from it gains may go: 87 dB; without an end, one unlucky step makes them infinite."""
KERNEL = 5
DISTANCES = (1, 2, 4, 2, 1)
"""Between the units that each convolution of a predictor reads."""
REACH = (KERNEL // 2) * sum(DISTANCES)
"""Units on either side that F0 and gains depend on: 0.8 s at 25 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcitationOptions:
    """Sizes of the predictor.

    Args:
        frames: values of F0 and of each gain for each unit.
        width: hidden channels of what says the gains.
        bands: gains of pulses and of noise, at frequencies spaced evenly in mel up to half the sample rate.
        tone_width: hidden channels of what says F0.
        sample_rate: of the sound, in Hz.
    """

    frames: int
    width: int
    bands: int
    tone_width: int
    sample_rate: int

    def __post_init__(self) -> None:
        if min(self.frames, self.width, self.sample_rate, self.tone_width) < 1 or self.bands < 2:
            raise FormatError(f"excitation needs positive frames and widths and two bands at least, got {self}")


class Context(nn.Module):
    """What lies around each unit, up to `REACH` units away: separable convolutions at growing distances, each of which
    adds to what it reads. The phone that a noisy unit stands for is told by its neighbours."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, width, 1)
        self.blocks = nn.ModuleList([_block(width, distance) for distance in DISTANCES])

    def forward(self, joined: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        hidden = self.first(joined) if inside is None else self.first(joined) * inside
        for block in self.blocks:
            change = block(hidden)
            hidden = hidden + (change if inside is None else change * inside)
        return F.leaky_relu(hidden, 0.1)


def _block(width: int, distance: int) -> nn.Sequential:
    near = nn.Conv1d(width, width, KERNEL, padding=distance * (KERNEL // 2), dilation=distance, groups=width)
    last = nn.Conv1d(width, width, 1)
    with torch.no_grad():
        last.weight.mul_(0.3)  # so that the sum over the blocks does not grow
    return nn.Sequential(near, nn.Conv1d(width, width, 1), nn.LeakyReLU(0.1), last)


class Predictor(nn.Module):
    """F0 and gains from joined embeddings, by `REACH` units on either side.

    Args:
        inputs: channels of the embeddings.
        options: sizes.
        speaker: which of the channels tell the speaker. F0 can be told without them, for a voice that is not known.
    """

    def __init__(self, inputs: int, options: ExcitationOptions, speaker: slice) -> None:
        super().__init__()
        self.options, self.speaker = options, speaker
        self.tone = Context(inputs, options.tone_width)
        self.tone_out = nn.Conv1d(options.tone_width, options.frames, 1)
        self.filter = Context(inputs, options.width)
        self.filter_out = nn.Conv1d(options.width, options.frames * CHANNELS * options.bands, 1)

    def forward(
        self, joined: torch.Tensor, inside: torch.Tensor | None = None, is_known: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``log(F0 in Hz)``, ``float32[B, T * frames]``, and the logarithms of the gains, ``float32[B, T * frames, 2,
        bands]``.

        Args:
            joined: ``float32[B, C, T]``.
            inside: ``float32[B, 1, T]``, 0 before the sound and after it, where `joined` is 0 too; None: all is within.
            is_known: ``float32[B]``, 0 where F0 is to be told without the speaker; None: with.
        """
        said = joined
        if is_known is not None:
            said = joined.clone()
            said[:, self.speaker] *= is_known[:, None, None]
        pitch = self.tone_out(self.tone(said, inside)).transpose(1, 2).flatten(1)
        found = self.filter_out(self.filter(joined, inside)).transpose(1, 2)
        gains = found.unflatten(2, (self.options.frames, CHANNELS, -1)).flatten(1, 2)
        return pitch + math.log(USUAL_HZ), _bounded(gains)


def _bounded(gains: torch.Tensor) -> torch.Tensor:
    return START_GAIN + GAIN_RANGE * torch.tanh(gains / GAIN_RANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excitation:
    """Pulses and noise over a whole sound, computed where they are asked for.

    Args:
        f0: ``float64[B, T]`` in Hz at the start of each frame, also where there is no voice; straight lines between.
        gains: ``float32[B, T, 2, bands]``, logarithms, at the start of each frame.
        phase: ``float64[B, T]``, in cycles, at the start of each frame.
        origin: ``int64[B]``: number of the first sample, which decides the noise.
        hop: samples between two frames.
        sample_rate: in Hz.
    """

    f0: torch.Tensor
    gains: torch.Tensor
    phase: torch.Tensor
    origin: torch.Tensor
    hop: int
    sample_rate: int

    @classmethod
    def of(
        cls,
        f0: torch.Tensor,
        gains: torch.Tensor,
        options: ExcitationOptions,
        hop: int,
        origin: torch.Tensor | None = None,
    ) -> Excitation:
        """From F0 in Hz, ``[B, T]``."""
        f0 = f0.double()
        cycles = _knots(f0).mean(2) * (hop / options.sample_rate)
        return cls(
            f0=f0,
            gains=gains,
            phase=cycles.cumsum(1) - cycles,
            origin=torch.zeros(len(f0), dtype=torch.int64, device=f0.device) if origin is None else origin,
            hop=hop,
            sample_rate=options.sample_rate,
        )

    def __call__(self, first: int, last: int) -> torch.Tensor:
        """Filtered pulses and noise ``float32[B, 2, last - first]``; zeros before the sound and after it."""
        hop, end = self.hop, self.f0.shape[1]
        frames = range(max(0, first // hop - 1), min(end + 1, -(-last // hop) + 2))
        begin = frames.start - 1
        windows = self._raw(begin * hop, frames.stop * hop).unfold(2, 2 * hop, hop)
        windows = windows * torch.hann_window(2 * hop, device=windows.device)
        at = torch.arange(frames.start, frames.stop, device=windows.device).clamp_max(end - 1)
        gains = self.gains[:, at].transpose(1, 2) @ _bands(self.gains.shape[3], hop, self.sample_rate).to(self.gains)
        spectrum = torch.fft.rfft(F.pad(windows, (hop, hop))) * gains.exp()
        parts = torch.fft.irfft(spectrum, n=4 * hop).unflatten(3, (4, hop))
        made = sum(F.pad(parts[:, :, :, part].flatten(2), (part * hop, (3 - part) * hop)) for part in range(4))
        inside = (max(0, first), min(end * hop, last))
        zero = (begin - 1) * hop
        return F.pad(made[..., inside[0] - zero : inside[1] - zero], (inside[0] - first, last - inside[1]))

    def _raw(self, first: int, last: int) -> torch.Tensor:
        """Of whole frames; zeros before the sound and after it."""
        hop = self.hop
        frames = slice(max(0, first // hop), min(last // hop, self.f0.shape[1]))
        at = torch.arange(hop, device=self.f0.device) / hop
        start, end = _knots(self.f0)[:, frames, :, None].unbind(2)
        cycles = (start * at + (end - start) * at.square() / 2) * (hop / self.sample_rate)
        pulses = _pulses(self.phase[:, frames, None] + cycles, start + (end - start) * at, self.sample_rate)
        number = torch.arange(frames.start * hop, frames.stop * hop, device=self.f0.device)
        both = torch.stack([pulses.flatten(1), _noise(self.origin[:, None] + number)], dim=1)
        return F.pad(both, (frames.start * hop - first, last - frames.stop * hop))


def _knots(values: torch.Tensor) -> torch.Tensor:
    """Each value and the next one, ``[B, T, 2]``; the last is held."""
    return torch.stack([values, torch.cat([values[:, 1:], values[:, -1:]], dim=1)], dim=2)


@lru_cache(maxsize=8)
def _bands(count: int, hop: int, sample_rate: int) -> torch.Tensor:
    """Straight lines, in mel, between bands: ``float32[bands, 2 * hop + 1]``."""
    frequencies = torch.linspace(0, sample_rate / 2, 2 * hop + 1, dtype=torch.float64)
    place = torch.log1p(frequencies / 700) / math.log1p(sample_rate / 1400) * (count - 1)
    return (1 - (place - torch.arange(count)[:, None]).abs()).clamp_min(0).float()


def _pulses(cycles: torch.Tensor, f0: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """A sum of equal cosines at all harmonics, of mean square 1: Dirichlet's kernel."""
    count = (HIGHEST * sample_rate / f0).floor().clamp_min(1).float()
    half = (math.pi * (cycles - cycles.round())).float()
    sine = half.sin()
    ratio = ((2 * count + 1) * half).sin() / torch.where(sine.abs() < 1e-4, torch.ones_like(sine), sine)
    both = torch.where(sine.abs() < 1e-4, 2 * count + 1, ratio)
    return (both - 1) / (2 * count).sqrt()


def _noise(number: torch.Tensor) -> torch.Tensor:
    """White noise of mean square 1, a function of the sample's number (an integer hash with good avalanche)."""
    mixed = number & 0xFFFFFFFF
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & 0xFFFFFFFF
    mixed = mixed ^ (mixed >> 16)
    return (mixed.float() / 2**32 - 0.5) * math.sqrt(12)
