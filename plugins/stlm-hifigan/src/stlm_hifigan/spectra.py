"""Spectral distances that a generator learns by: log-mel and log-magnitude L1, differentiable, in float32.

The mel distance is HiFi-GAN's reconstruction loss (Kong et al., 2020, section 2.3). The other is the log-magnitude part
of the multi-resolution STFT loss (Yamamoto et al., "Parallel WaveGAN", 2020, equation 5), one term for each window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from stlm.errors import ConfigError
from stlm.learn.mel import MelOptions, mel_bands

FLOOR = 1e-5
"""Of a magnitude; -100 dB of full scale and below are one silence (HiFi-GAN)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectraOptions:
    """Which spectra are compared; lengths in samples.

    Args:
        sample_rate: of the sound.
        mel_window, mel_hop: of the mel analysis.
        num_mels: bands, from 0 Hz to half the sample rate.
        stft_windows: windows of the log-magnitude distance, each with a hop of a quarter; empty for none.
    """

    sample_rate: int
    mel_window: int
    mel_hop: int
    num_mels: int
    stft_windows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for window in (self.mel_window, *self.stft_windows):
            if window < 16 or window % 4:
                raise ConfigError(f"windows of spectra must be multiples of 4 from 16 samples on, got {window}")
        if not 0 < self.mel_hop <= self.mel_window:
            raise ConfigError(f"mel_hop must lie in 1..{self.mel_window} (mel_window), got {self.mel_hop}")

    @property
    def shortest(self) -> int:
        """Samples that a sound must have: half the widest window is mirrored at its ends."""
        return max(self.mel_window, *self.stft_windows, 0) // 2 + 1


class Spectra(nn.Module):
    """Distances between sounds ``float32[B, N]``."""

    bands: torch.Tensor

    def __init__(self, options: SpectraOptions) -> None:
        super().__init__()
        self.options = options
        mel = MelOptions(
            sample_rate=options.sample_rate,
            window=options.mel_window,
            hop=options.mel_window // 2,
            n_fft=options.mel_window,
            num_mels=options.num_mels,
            f_min=0.0,
            f_max=options.sample_rate / 2,
        )
        self.register_buffer("bands", mel_bands(mel), persistent=False)

    def log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        """``float32[B, T, M]``."""
        magnitudes = _magnitudes(samples, self.options.mel_window, self.options.mel_hop)
        return (magnitudes.transpose(1, 2) @ self.bands).clamp_min(FLOOR).log()

    def mel_distance(self, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        with torch.autocast(made.device.type, enabled=False):
            return (self.log_mel(made.float()) - self.log_mel(wanted.float())).abs().mean()

    def stft_distance(self, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Mean over the windows; 0 without windows."""
        with torch.autocast(made.device.type, enabled=False):
            total = made.new_zeros((), dtype=torch.float32)
            for window in self.options.stft_windows:
                one, two = (_magnitudes(x.float(), window, window // 4).clamp_min(FLOOR).log() for x in (made, wanted))
                total = total + (one - two).abs().mean()
            return total / max(1, len(self.options.stft_windows))


def _magnitudes(samples: torch.Tensor, window: int, hop: int) -> torch.Tensor:
    """``float32[B, window // 2 + 1, T]``; the root has a finite slope at 0."""
    shape = torch.hann_window(window, device=samples.device)
    spectrum = torch.stft(samples, window, hop, window=shape, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-9).sqrt()
