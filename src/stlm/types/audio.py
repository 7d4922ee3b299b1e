"""Sound: samples in memory (`Audio`) or a stretch of a file (`AudioRef`). Mono by contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stlm.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Mono samples in memory.

    Args:
        samples: ``float32[N]``, nominally within [-1, 1].
        sample_rate: samples per second.

    Raises:
        DataError: samples are not one-dimensional float32, or the rate is not positive.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or self.samples.dtype != np.float32:
            raise DataError(
                f"audio must be float32[N], got {self.samples.dtype}{list(self.samples.shape)}: "
                "mix to mono and convert with samples.astype('float32')"
            )
        if self.sample_rate <= 0:
            raise DataError(f"sample rate must be positive, got {self.sample_rate}")

    @property
    def num_samples(self) -> int:
        return len(self.samples)

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write the audio; the suffix chooses the file format (wav, flac, ogg)."""
        from stlm.audio import write_audio

        write_audio(path, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRef:
    """A stretch of an audio file, read on demand by `stlm.audio.read_audio`.

    Args:
        uri: path of the file, or one of the other places that `stlm.audio.Place` describes.
        sample_rate: the file's own rate; `start` and `num_samples` count in it.
        start: first sample.
        num_samples: length in samples.
    """

    uri: str
    sample_rate: int
    num_samples: int
    start: int = 0

    def __post_init__(self) -> None:
        if self.start < 0 or self.num_samples < 0 or self.sample_rate <= 0:
            raise DataError(
                f"{self.uri}: start {self.start}, length {self.num_samples} and rate {self.sample_rate} "
                "must not be negative"
            )

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate
