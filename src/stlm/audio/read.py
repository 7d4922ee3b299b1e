"""Audio files to `Audio`: a whole file or the stretch that an `AudioRef` names, mixed to mono, optionally resampled.

soundfile seeks exactly, so a stretch of a long file costs little. 15 s decode in 0.4 ms (wav) to 5 ms (ogg).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from stlm.audio.resample import resample
from stlm.errors import DataError
from stlm.types import Audio, AudioRef

UNKNOWN_LENGTH = 1 << 48  # libsndfile reports 2**63 - 1 where the header has no length, and then fails to seek


def read_audio(source: AudioRef | str | Path, sample_rate: int | None = None) -> Audio:
    """Read a file, or a stretch of one, as mono (mean of the channels).

    Args:
        source: a path for the whole file, or a reference to a stretch of one.
        sample_rate: resample to this rate; None keeps the file's own.

    Raises:
        DataError: the file is missing, unreadable, empty or cut off, holds NaN or infinity, is shorter than the
            reference says, or has another rate than it says.
    """
    path = source.uri if isinstance(source, AudioRef) else source
    with _opened(path) as file:
        first, count = (source.start, source.num_samples) if isinstance(source, AudioRef) else (0, None)
        if isinstance(source, AudioRef):
            _check_reference(source, file)
        samples = _mono(_frames(path, file, first, count))
        rate = int(file.samplerate)
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise DataError(f"{path}: sample {first + bad} is {samples[bad]}, expected finite samples: re-export the file")
    audio = Audio(samples=samples, sample_rate=rate)
    return audio if sample_rate is None else resample(audio, sample_rate)


def probe_audio(path: str | Path) -> AudioRef:
    """A reference to a whole file, from its header alone.

    Raises:
        DataError: the file is missing, unreadable or empty.
    """
    with _opened(path) as file:
        return AudioRef(uri=str(path), sample_rate=int(file.samplerate), num_samples=int(file.frames))


@contextmanager
def _opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """The open file, with every fault as one DataError line."""
    _check_path(Path(path))
    try:
        with soundfile.SoundFile(str(path)) as file:
            if file.frames == 0:
                raise DataError(f"{path}: the file has a header but no samples, expected audio: remove or re-export it")
            if file.frames > UNKNOWN_LENGTH:
                raise DataError(f"{path}: the header does not tell the length, expected a finished file: re-encode it")
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError, OSError) as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise DataError(
            f"{path}: cannot be read as audio ({reason}), expected a sound wav, flac, ogg, opus or mp3 file: "
            "convert it, for example with `ffmpeg -i INPUT OUTPUT.flac`"
        ) from error


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path}: is a directory, expected an audio file: give the path of one file")
    if not path.exists():
        raise DataError(f"{path}: no such file, expected an audio file: check the path and the working directory")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes), expected audio: copy or download it again")


def _check_reference(ref: AudioRef, file: soundfile.SoundFile) -> None:
    if file.samplerate != ref.sample_rate:
        raise DataError(
            f"{ref.uri}: the file has {file.samplerate} Hz, but the reference counts samples at {ref.sample_rate} Hz: "
            "make references with stlm.audio.probe_audio"
        )


def _frames(path: str | Path, file: soundfile.SoundFile, first: int, count: int | None) -> np.ndarray:
    """``float32[N, channels]`` from frame `first`; `count` frames, or all that there are."""
    expected = file.frames - first if count is None else count
    if first + expected > file.frames:
        raise _too_short(path, file.frames, first + expected)
    if first:
        file.seek(first)
    frames = file.read(expected, dtype="float32", always_2d=True)
    if len(frames) < expected and file.format != "MP3":  # the length in an mp3 header is an estimate
        raise _too_short(path, first + len(frames), first + expected)
    return frames


def _too_short(path: str | Path, got: int, expected: int) -> DataError:
    return DataError(
        f"{path}: the file ends after {got} samples, expected {expected}: it was cut off or changed; "
        "copy it again, or make a new reference with stlm.audio.probe_audio"
    )


def _mono(frames: np.ndarray) -> np.ndarray:
    if frames.shape[1] == 1:
        return np.ascontiguousarray(frames[:, 0])
    return frames.mean(axis=1, dtype=np.float32)
