"""`PraatExtractor`: F0 by Praat's autocorrelation method (Boersma, 1993), hundreds of times real time on one core.

Praat's Python package is GPLv3, so it is no dependency: it comes with the extra ``stlm-pitch[praat]`` and is imported
when the component is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stlm.audio import resample
from stlm.errors import ConfigError, DataError
from stlm.interfaces import F0Extractor
from stlm.types import Audio

SAMPLE_RATE = 16000


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``praat``; floor, ceiling and threshold are Praat's own defaults.

    Args:
        hop: samples at 16 kHz between two frames; 160 is 10 ms.
        floor, ceiling: range of F0 in Hz.
        voicing_threshold: strength of the autocorrelation peak below which a frame is unvoiced.
    """

    hop: int = 160
    floor: float = 75.0
    ceiling: float = 600.0
    voicing_threshold: float = 0.45

    def __post_init__(self) -> None:
        if self.hop < 1 or not 0 < self.floor < self.ceiling <= SAMPLE_RATE / 2:
            raise ConfigError(
                f"praat needs hop >= 1 and 0 < floor < ceiling <= {SAMPLE_RATE // 2} Hz, got hop {self.hop}, "
                f"floor {self.floor} and ceiling {self.ceiling}"
            )


def build(config: Config) -> PraatExtractor:
    return PraatExtractor(config)


class PraatExtractor(F0Extractor):
    """Frame t is Praat's frame nearest to ``t * hop``; there are ``num_samples // hop + 1`` frames."""

    def __init__(self, config: Config | None = None) -> None:
        self._config = config or Config()
        _parselmouth()

    @property
    def hop(self) -> int:
        return self._config.hop

    def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
        """F0 ``float32[T]`` in Hz, 0 where unvoiced, and voicing ``bool[T]``; audio of another rate is resampled.

        Raises:
            DataError: a sample is NaN or infinite.
        """
        samples = resample(audio, SAMPLE_RATE).samples
        if not np.isfinite(samples).all():
            raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
        f0 = np.zeros(len(samples) // self._config.hop + 1, np.float32)
        if len(samples) > 3 * SAMPLE_RATE / self._config.floor:  # Praat's window is three of the longest periods
            self._fill(f0, samples)
        return f0, f0 > 0

    def _fill(self, f0: np.ndarray, samples: np.ndarray) -> None:
        config, step = self._config, self._config.hop / SAMPLE_RATE
        sound = _parselmouth().Sound(samples.astype(np.float64), sampling_frequency=SAMPLE_RATE)
        pitch = sound.to_pitch_ac(
            time_step=step,
            pitch_floor=config.floor,
            pitch_ceiling=config.ceiling,
            voicing_threshold=config.voicing_threshold,
        )
        found = pitch.selected_array["frequency"]
        nearest = np.rint((np.arange(len(f0)) * step - pitch.x1) / pitch.dx).astype(np.int64)
        inside = (nearest >= 0) & (nearest < len(found))
        f0[inside] = found[nearest[inside]]


def _parselmouth() -> Any:
    try:
        import parselmouth
    except ImportError as error:
        raise ConfigError(
            "f0_extractor 'praat' needs the package praat-parselmouth (GPLv3), which is not installed: "
            "pip install 'stlm-pitch[praat]', or use f0_extractor 'fcpe'"
        ) from error
    return parselmouth
