"""`Audio` to files: 16-bit wav and flac, Vorbis in ogg."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from stlm.errors import DataError, did_you_mean
from stlm.types import Audio

BLOCK = 1 << 16  # one large ogg write crashes libsndfile 1.2.2
KINDS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}


def write_audio(path: str | Path, audio: Audio) -> None:
    """Write `audio`; the suffix chooses the format. Samples beyond [-1, 1] are clipped, never wrapped.

    Raises:
        DataError: unknown suffix, NaN or infinite samples, or a place that cannot be written.
    """
    container, subtype = _kind(Path(path))
    if not np.isfinite(audio.samples).all():
        raise DataError(f"{path}: not written, the audio holds NaN or infinite samples: check what made it")
    samples = np.clip(audio.samples, -1.0, 1.0)
    try:
        with soundfile.SoundFile(
            str(path), "w", samplerate=audio.sample_rate, channels=1, format=container, subtype=subtype
        ) as file:
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
    except (soundfile.SoundFileError, RuntimeError, TypeError, OSError) as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise DataError(
            f"{path}: cannot be written ({reason}): check that the directory exists and the sample rate "
            f"({audio.sample_rate} Hz) suits {container}"
        ) from error


def _kind(path: Path) -> tuple[str, str]:
    suffix = path.suffix.lower()
    if suffix not in KINDS:
        raise DataError(
            f"{path}: unknown suffix {suffix!r}, expected one of {', '.join(KINDS)}{did_you_mean(suffix, KINDS)}"
        )
    return KINDS[suffix]
