"""`GriffinLimVocoder`: units to audio without a trained vocoder. A voice without pitch, but one that can be understood.

Each unit stands for the mean log-mel frames of its cluster. They are laid side by side, smoothed, spread to a linear
spectrum, and Griffin-Lim finds a phase (with momentum: Perraudin, Balazs and Sondergaard, 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces import Vocoder
from stlm.learn.mel import mel_bands
from stlm.learn.threads import one_thread
from stlm.types import AlignedUnits, Audio
from stlm_logmel.codebook import Codebook, load_codebook
from stlm_logmel.sounds import sound_options

PEAK = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``griffinlim``.

    Args:
        path: directory written by the recipe ``logmel_kmeans``, or by ``save``.
        iterations: rounds of Griffin-Lim.
        smoothing: how often neighbouring mel frames are averaged.
        gain_db: louder or softer than the speech that the codebook was fitted on.
        seed: decides the phase at the start.
        device: where to compute.
    """

    path: str = ""
    iterations: int = 16
    smoothing: int = 4
    gain_db: float = 0.0
    seed: int = 0
    device: str = "cpu"


def build(config: Config) -> GriffinLimVocoder:
    return GriffinLimVocoder(load_codebook(config.path), config)


class GriffinLimVocoder(Vocoder):
    """Cluster means and Griffin-Lim; one voice."""

    def __init__(self, codebook: Codebook, config: Config | None = None) -> None:
        self._codebook = codebook
        self._config = config or Config()
        if self._config.iterations < 1 or self._config.smoothing < 0:
            raise ConfigError(
                f"griffinlim needs iterations >= 1 and smoothing >= 0, got {self._config.iterations} and "
                f"{self._config.smoothing}"
            )
        self._options = sound_options(codebook.features)
        bands = mel_bands(self._options)
        self._area = bands.sum(0).clamp_min(1e-3)
        self._spread = (bands / bands.sum(1, keepdim=True).clamp_min(1e-3)).T.contiguous()
        self._heard = (bands.sum(1) > 1e-3).float()  # no band reaches the first and last bin

    @property
    def streams(self) -> tuple[str, ...]:
        return (self._codebook.stream,)

    @property
    def accepts(self) -> dict[str, str]:
        return {self._codebook.stream: self._codebook.spec.fingerprint}

    @property
    def sample_rate(self) -> int:
        return self._codebook.features.sample_rate

    @one_thread()
    def synthesize(self, units: AlignedUnits, voice: str | int | None = None, style: str | int | None = None) -> Audio:
        if voice is not None or style is not None:
            raise ConfigError(
                f"griffinlim has one voice and one style, got voice {voice!r} and style {style!r}: omit them"
            )
        codes = self._codes(units)
        if len(codes) == 0:
            return Audio(samples=np.zeros(0, np.float32), sample_rate=self.sample_rate)
        magnitude = self._magnitude(self.log_mel(codes)).to(self._config.device)
        samples = griffin_lim(magnitude, self._options.hop, self._options.window, self._config)
        loudest = float(samples.abs().max())
        samples = samples * min(1.0, PEAK / max(loudest, 1e-9))
        return Audio(samples=samples.cpu().numpy().astype(np.float32), sample_rate=self.sample_rate)

    def log_mel(self, codes: np.ndarray) -> torch.Tensor:
        """``float32[T * P + 1, M]``: smoothed log-mel frames centred on the edges of mel hops, from codes ``[T]``."""
        frames = self._codebook.sounds[torch.from_numpy(codes.astype(np.int64))].flatten(0, 1)
        frames = torch.cat([frames[:1], frames, frames[-1:]])
        frames = (frames[1:] + frames[:-1]) / 2
        for _ in range(self._config.smoothing):
            frames[1:-1] = frames[:-2] / 4 + frames[1:-1] / 2 + frames[2:] / 4
        return frames + self._codebook.colour + self._config.gain_db * math.log(10) / 10

    def save(self, directory: Path) -> None:
        self._codebook.save(directory)

    def _codes(self, units: AlignedUnits) -> np.ndarray:
        """One code per frame, ``uint16[T]``."""
        stream, size = self._codebook.stream, len(self._codebook.centroids)
        if stream not in units.streams:
            raise DataError(f"griffinlim needs stream {stream!r}, got {sorted(units.streams)}")
        codes = units.streams[stream][:, 0]
        if len(codes) and int(codes.max()) >= size:
            raise FormatError(f"stream {stream!r}: code {int(codes.max())} is outside 0..{size - 1} of this codebook")
        return codes if units.durations is None else np.repeat(codes, units.durations)

    def _magnitude(self, log_mel: torch.Tensor) -> torch.Tensor:
        """``float32[bins, frames]``: log power density of the bands, interpolated over the bins; never negative."""
        density = log_mel - self._area.log()
        return (((density @ self._spread) / 2).exp() * self._heard).T


def griffin_lim(magnitude: torch.Tensor, hop: int, window: int, config: Config) -> torch.Tensor:
    """Samples ``float32[(frames - 1) * hop]`` whose spectrum has about this magnitude ``[bins, frames]``."""
    n_fft, shape = 2 * (magnitude.shape[0] - 1), magnitude.shape
    generator = torch.Generator().manual_seed(config.seed)
    turns = torch.rand(shape, generator=generator).to(magnitude.device)
    phase = torch.polar(torch.ones_like(magnitude), 2 * math.pi * turns)
    hann = torch.hann_window(window, device=magnitude.device)
    length = (shape[1] - 1) * hop
    previous = torch.zeros_like(phase)
    for _ in range(config.iterations):
        samples = torch.istft(magnitude * phase, n_fft, hop, window, hann, length=length)
        spectrum = torch.stft(samples, n_fft, hop, window, hann, pad_mode="constant", return_complex=True)
        ahead = spectrum - previous * (0.99 / 1.99)
        phase = ahead / ahead.abs().clamp_min(1e-12)
        previous = spectrum
    return torch.istft(magnitude * phase, n_fft, hop, window, hann, length=length)
