"""Audio to the vectors that k-means clusters: one ``float32[T, D]`` per sound, one frame each `hop` samples.

A fine mel analysis (10 ms) is clamped to the sound's own dynamic range and freed of its mean over speech, so that
level, channel and part of the speaker go away; cepstra of it are pooled over a context of 120 ms (half of it counts
much) around the frame into a weighted mean, slope and curvature. Frame t depends on the whole sound only through the
normalisation, and never on other sounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stlm.errors import ConfigError
from stlm.learn.mel import LogMel, MelOptions, cepstra

NATS_PER_DB = math.log(10) / 10


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOptions:
    """What a frame is made of; lengths in samples.

    Args:
        sample_rate: rate of the audio in Hz.
        hop: samples between two units; 640 at 16 kHz is 25 Hz.
        fine_hop: samples between two mel frames; divides `hop`.
        window: length of a mel frame.
        num_mels: mel bands.
        f_min, f_max: their range in Hz.
        num_cepstra: cepstral coefficients per mel frame; 0 keeps the log-mel bands themselves.
        context: mel frames that a unit sees, centred on its own.
        orders: temporal patterns over the context: 1 mean, 2 and slope, 3 and curvature.
        variance: divide each coefficient by its deviation within the sound, too.
        dynamic_range_db: quieter than this below the sound's peak counts as silence.
        speech_range_db: frames within this range of the loudest make the sound's mean.
    """

    sample_rate: int = 16000
    hop: int = 640
    fine_hop: int = 160
    window: int = 400
    num_mels: int = 40
    f_min: float = 60.0
    f_max: float = 7600.0
    num_cepstra: int = 13
    context: int = 12
    orders: int = 3
    variance: bool = False
    dynamic_range_db: float = 80.0
    speech_range_db: float = 30.0

    def __post_init__(self) -> None:
        if self.hop <= 0 or self.fine_hop <= 0 or self.hop % self.fine_hop:
            raise ConfigError(f"hop must be a multiple of fine_hop, got {self.hop} and {self.fine_hop}")
        if self.context < 1 or (self.context - self.fine_per_unit) % 2:
            raise ConfigError(
                f"context must be centred on a unit of {self.fine_per_unit} mel frames, got {self.context}: "
                f"take {self.context + 1}"
            )
        if not 0 <= self.num_cepstra <= self.num_mels or not 1 <= self.orders <= min(3, self.context):
            raise ConfigError(
                f"features need 0 <= num_cepstra <= num_mels and 1 <= orders <= 3, got num_cepstra {self.num_cepstra}, "
                f"num_mels {self.num_mels}, orders {self.orders}"
            )
        _ = self.mel

    @property
    def fine_per_unit(self) -> int:
        return self.hop // self.fine_hop

    @property
    def mel(self) -> MelOptions:
        n_fft = 1 << (self.window - 1).bit_length()
        return MelOptions(
            sample_rate=self.sample_rate,
            window=self.window,
            hop=self.fine_hop,
            n_fft=n_fft,
            num_mels=self.num_mels,
            f_min=self.f_min,
            f_max=self.f_max,
        )

    @property
    def num_coefficients(self) -> int:
        return self.num_cepstra or self.num_mels

    @property
    def num_dimensions(self) -> int:
        return self.num_coefficients * self.orders


class UnitFeatures:
    """Computes the features of many sounds at once."""

    def __init__(self, options: FeatureOptions, device: str | torch.device = "cpu") -> None:
        self.options = options
        self._log_mel = LogMel(options.mel, device)
        self._patterns = temporal_patterns(options.context, options.orders)

    def num_frames(self, num_samples: int) -> int:
        return num_samples // self.options.hop

    def joined(self, batch: Sequence[np.ndarray]) -> torch.Tensor:
        """The features of all sounds, one after another: ``float32[sum T, D]``."""
        fine = self._log_mel.joined(batch)
        lengths = [self._log_mel.num_frames(len(samples)) for samples in batch]
        normal = normalise(fine, lengths, self.options)
        if self.options.num_cepstra:
            normal = cepstra(normal, self.options.num_cepstra)
        return self._pooled(normal, self._places(lengths).to(fine.device))

    def _places(self, lengths: Sequence[int]) -> torch.Tensor:
        """``int64[sum T, context]``: the mel frames that each unit sees; the first and last stand for those outside."""
        step = self.options.fine_per_unit
        around = np.arange(self.options.context) - (self.options.context - step) // 2
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = [
            start + np.clip(np.arange(length // step)[:, None] * step + around, 0, max(0, length - 1))
            for start, length in zip(starts, lengths, strict=False)
        ]
        return torch.from_numpy(np.concatenate([*places, np.zeros((0, len(around)))]).astype(np.int64))

    def _pooled(self, fine: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Weighted sums over the context, added in a fixed order."""
        pooled = [torch.zeros(len(places), fine.shape[1], device=fine.device) for _ in self._patterns]
        for column in range(places.shape[1]):
            frames = fine[places[:, column]]
            for total, pattern in zip(pooled, self._patterns, strict=True):
                total.add_(frames, alpha=float(pattern[column]))
        return torch.cat(pooled, dim=1)


def temporal_patterns(context: int, orders: int) -> np.ndarray:
    """``float64[orders, context]``: Hann-weighted polynomials (mean, slope, curvature), the first with sum 1."""
    place = (np.arange(context) - (context - 1) / 2) / context
    weight = np.cos(np.pi * place) ** 2
    patterns = [weight / weight.sum()]
    for order in range(1, orders):
        pattern = place**order * weight
        for earlier in patterns:
            pattern = pattern - earlier * (pattern @ earlier) / (earlier @ earlier)
        patterns.append(pattern / np.linalg.norm(pattern) * np.linalg.norm(patterns[0]))
    return np.stack(patterns)


def normalise(fine: torch.Tensor, lengths: Sequence[int], options: FeatureOptions) -> torch.Tensor:
    """Log-mel frames, clamped to each sound's dynamic range, less the sound's mean over its speech."""
    sizes = torch.tensor([length for length in lengths if length], dtype=torch.int64, device=fine.device)
    if len(sizes) == 0:
        return fine
    owner = torch.repeat_interleave(sizes)
    peak = torch.segment_reduce(fine.amax(1), "max", lengths=sizes)
    clamped = torch.maximum(fine, (peak - options.dynamic_range_db * NATS_PER_DB)[owner][:, None])
    centred = clamped - speech_mean(clamped, sizes, owner, options.speech_range_db)[owner]
    if not options.variance:
        return centred
    spread = torch.segment_reduce(centred.double().square(), "mean", lengths=sizes).sqrt().float()
    return centred / spread.clamp_min(1e-3)[owner]


def speech_mean(fine: torch.Tensor, sizes: torch.Tensor, owner: torch.Tensor, range_db: float) -> torch.Tensor:
    """``float32[files, M]``: mean over the frames whose level is within `range_db` of the sound's loudest frame."""
    level = fine.double().mean(1)
    loudest = torch.segment_reduce(level, "max", lengths=sizes)
    speech = (level >= loudest[owner] - range_db * NATS_PER_DB).double()[:, None]
    count = torch.segment_reduce(speech, "sum", lengths=sizes)
    return (torch.segment_reduce(fine.double() * speech, "sum", lengths=sizes) / count).float()
