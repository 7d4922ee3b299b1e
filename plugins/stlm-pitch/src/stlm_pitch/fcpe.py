"""`FcpeExtractor`: F0 every 10 ms by FCPE (Luo et al., 2025), a conformer of 10.8 M weights that its package brings.

About 20 times real time on one core. The raw contour is taken, with zeros where there is no voice: the package's own
interpolation fails on audio without any voiced frame.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stlm.audio import resample
from stlm.errors import ConfigError, DataError
from stlm.interfaces import F0Extractor
from stlm.types import Audio

SAMPLE_RATE = 16000
HOP = 160
PIECE = 1_600_000
"""Samples (100 s) that go through the model at once: the official encoder's longest piece."""
DECODERS = ("local_argmax", "argmax")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``fcpe``; the defaults are those of the official expressive encoder.

    Args:
        threshold: confidence at or below which a frame is unvoiced.
        decoder_mode: how a frame's 360 pitch classes become one value: ``local_argmax`` or ``argmax``.
        f0_min: Hz; frames below it are unvoiced.
        device: where to compute.
    """

    threshold: float = 0.05
    decoder_mode: str = "local_argmax"
    f0_min: float = 50.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.decoder_mode not in DECODERS:
            raise ConfigError(f"fcpe: decoder_mode must be one of {', '.join(DECODERS)}, got {self.decoder_mode!r}")
        if not 0 <= self.threshold < 1 or self.f0_min < 0:
            raise ConfigError(
                f"fcpe needs 0 <= threshold < 1 and f0_min >= 0 Hz, got {self.threshold} and {self.f0_min}"
            )


def build(config: Config) -> FcpeExtractor:
    return FcpeExtractor(config)


class FcpeExtractor(F0Extractor):
    """FCPE's bundled model; ``num_samples // 160 + 1`` frames at 16 kHz."""

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()
        self._model = _load(self._config.device)

    @property
    def hop(self) -> int:
        return HOP

    def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
        """F0 ``float32[T]`` in Hz, 0 where unvoiced, and voicing ``bool[T]``.

        Audio of another rate is resampled; longer audio goes through the model in pieces of 100 s.

        Raises:
            DataError: a sample is NaN or infinite.
        """
        samples = resample(audio, SAMPLE_RATE).samples
        if not np.isfinite(samples).all():
            raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
        starts = range(0, max(1, len(samples)), PIECE)
        parts = [self._frames(samples[start : start + PIECE]) for start in starts]
        f0 = np.concatenate([part[: PIECE // HOP] for part in parts[:-1]] + parts[-1:])
        return f0, f0 > 0

    def __reduce__(self) -> tuple[Any, ...]:
        return build, (self._config,)

    @torch.inference_mode()
    def _frames(self, samples: np.ndarray) -> np.ndarray:
        if not len(samples):
            return np.zeros(1, np.float32)
        config = self._config
        wave = torch.from_numpy(np.ascontiguousarray(samples))[None, :, None].to(config.device)
        with _quiet():  # it prints the range of samples beyond -1..1
            f0 = self._model.infer(wave, sr=SAMPLE_RATE, decoder_mode=config.decoder_mode, threshold=config.threshold)
        f0 = f0[0, :, 0].float().cpu().numpy()
        return np.where(f0 < config.f0_min, np.float32(0), f0)


def _load(device: str) -> Any:
    """The bundled model, in silence, with the global generator as it was."""
    with _quiet(), torch.random.fork_rng(devices=[]):
        from torchfcpe import spawn_bundled_infer_model

        return spawn_bundled_infer_model(device=device).requires_grad_(False)


def _quiet() -> contextlib.AbstractContextManager[Any]:
    return contextlib.redirect_stdout(io.StringIO())
