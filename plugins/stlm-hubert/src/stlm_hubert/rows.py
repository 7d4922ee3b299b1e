"""`Rows`: batches for masked prediction, waves with their targets; a batch is a function of its generator alone.

Each row starts at a random place of a random recording, and goes on with further recordings until it is full, so that
short recordings waste nothing on silence. A distorted row keeps the targets of the clean one (Chen et al., "WavLM",
2022): faster or slower by resampling, which is another throat and pitch, quieter or louder, noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stlm.errors import ConfigError
from stlm.learn.augment import add_noise, change_gain, change_speed
from stlm.learn.sounds import Recordings
from stlm_hubert.model_25hz import SAMPLE_RATE

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
NOISE_DB = (5.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """How waves differ from the clean ones whose targets they keep.

    Args:
        share: of the pieces of recordings that are distorted.
        speed: up to so many per cent faster or slower.
        gain_db: up to so many decibels louder or quieter.
        noise: share of the distorted ones that get noise, 5 to 30 dB below the sound.
    """

    share: float = 0.0
    speed: float = 15.0
    gain_db: float = 10.0
    noise: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.noise <= 1 and 0 <= self.speed < 100 and self.gain_db >= 0):
            raise ConfigError(
                f"distortion is {self}, expected share and noise in 0..1, speed in 0..100 % and gain_db of 0 or more"
            )


class Rows:
    """Draws ``waves f32[B, N]``, ``targets i64[B, T]``, ``masks bool[B, T]``.

    Args:
        recordings: at 16 kHz.
        targets: ``uint16[T]`` for each, one every `hop` samples.
        hop, window: of the model's frames, in samples.
        num_rows, num_frames: B and T.
        normalize: bring each recording to mean 0 and variance 1.
        mask_share, mask_span: share of frames at which a mask of so many frames starts.
        distortion: of the waves.
    """

    def __init__(
        self,
        recordings: Recordings,
        targets: Sequence[np.ndarray],
        *,
        hop: int,
        window: int,
        num_rows: int,
        num_frames: int,
        normalize: bool,
        mask_share: float,
        mask_span: int,
        distortion: Distortion,
    ) -> None:
        self.recordings, self.targets = recordings, targets
        self.hop, self.num_rows, self.num_frames = hop, num_rows, num_frames
        self.num_hops = num_frames + -(-(window - hop) // hop)
        self.normalize, self.distortion = normalize, distortion
        self.mask_share, self.mask_span = mask_share, mask_span
        self.usable = [index for index, codes in enumerate(targets) if len(codes)]

    def draw(self, rng: np.random.Generator) -> Batch:
        rows = [self._row(rng) for _ in range(self.num_rows)]
        masks = [draw_mask(self.num_frames, self.mask_share, self.mask_span, rng) for _ in rows]
        waves = torch.from_numpy(np.stack([wave for wave, _ in rows]))
        targets = torch.from_numpy(np.stack([codes for _, codes in rows]))
        return waves, targets, torch.from_numpy(np.stack(masks))

    def _row(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        waves: list[np.ndarray] = []
        codes: list[np.ndarray] = []
        missing = self.num_hops
        while missing:
            wave, found = self._piece(missing, rng)
            waves.append(wave)
            codes.append(found)
            missing -= len(found)
        return np.concatenate(waves), np.concatenate(codes)[: self.num_frames].astype(np.int64)

    def _piece(self, longest: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Up to `longest` hops of a recording, and the targets of each."""
        index = self.usable[int(rng.integers(len(self.usable)))]
        wave, codes = self.recordings[index], self.targets[index]
        if self.normalize:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        distorted = rng.random() < self.distortion.share
        factor = 1 + rng.uniform(-0.01, 0.01) * self.distortion.speed if distorted else 1.0
        hops = max(1, min(int(len(codes) / factor), longest))
        first = int(rng.integers(len(codes) - min(len(codes), int(hops * factor)) + 1))
        taken = codes[np.minimum(first + ((np.arange(hops) + 0.5) * factor).astype(np.int64), len(codes) - 1)]
        piece = wave[first * self.hop : first * self.hop + round(hops * self.hop * factor)]
        if distorted:
            piece = self._distorted(piece, factor, rng)
        length = hops * self.hop
        return np.pad(piece, (0, max(0, length - len(piece))))[:length].astype(np.float32), taken

    def _distorted(self, piece: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
        piece = change_speed(piece, factor)
        if rng.random() < self.distortion.noise:
            piece = add_noise(piece, rng, float(rng.uniform(*NOISE_DB)))
        gain = float(rng.uniform(-self.distortion.gain_db, self.distortion.gain_db))
        return piece if self.normalize else change_gain(piece, gain)


def draw_mask(num_frames: int, share: float, span: int, rng: np.random.Generator) -> np.ndarray:
    """``bool[T]``: spans that start at a `share` of frames, at least one, and may overlap (Baevski et al. 2020)."""
    starts = rng.permutation(max(1, num_frames - span + 1))[: max(1, int(share * num_frames + rng.random()))]
    mask = np.zeros(num_frames, bool)
    for start in starts:
        mask[start : start + span] = True
    return mask


def frames_in(seconds: float, hop: int) -> int:
    return max(1, round(seconds * SAMPLE_RATE / hop))
