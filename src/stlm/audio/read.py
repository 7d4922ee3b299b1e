"""Audio files to `Audio`: a whole file or the stretch that an `AudioRef` names, mixed to mono, optionally resampled.
Files may lie in a tar, and one channel may be asked for (`stlm.audio.Place`).

What libsndfile does not read (.m4a, .mp4, .webm, …) goes through `stlm.audio.containers`.

soundfile seeks exactly, so a stretch of a long file costs little. 15 s decode in 0.4 ms (wav) to 5 ms (ogg).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from stlm.audio import containers
from stlm.audio.place import Place, read_member
from stlm.audio.resample import resample
from stlm.errors import DataError
from stlm.types import Audio, AudioRef, Utterance

BLOCK = 1 << 20  # frames
UNKNOWN_LENGTH = 1 << 48  # libsndfile reports 2**63 - 1 where the header has no length, and then fails to seek
MOST_MIXED = 2  # channels of which the mean is taken
OPEN_ENDED = 0x7FFF0000  # programs that write wav into a pipe put 0 or a size from here up into its header


def audio_of(utterance: Utterance) -> Audio:
    """The utterance's sound at its own rate, read if it is a reference.

    Raises:
        DataError: it has none, or it cannot be read.
    """
    if utterance.audio is None:
        raise DataError(f"{utterance.id}: no audio, expected a recording: choose a source with speech")
    return utterance.audio if isinstance(utterance.audio, Audio) else read_audio(utterance.audio)


def read_audio(source: AudioRef | str | Path, sample_rate: int | None = None) -> Audio:
    """Read a file, or a stretch of one, as mono (mean of the channels, or the channel that is named).

    Args:
        source: a path or uri for the whole file, or a reference to a stretch of one.
        sample_rate: resample to this rate; None keeps the file's own.

    Raises:
        DataError: the file is missing, unreadable, empty or cut off, holds NaN or infinity, lacks the channel, is
            shorter than the reference says, or has another rate than it says.
    """
    uri = source.uri if isinstance(source, AudioRef) else str(source)
    place = Place.of(uri)
    with _opened(place) as file:
        first, count = (source.start, source.num_samples) if isinstance(source, AudioRef) else (0, None)
        if isinstance(source, AudioRef):
            _check_reference(source, file)
        audio = _decoded(uri, file, first, count, place.channel)
    return audio if sample_rate is None else resample(audio, sample_rate)


def decode_audio(content: bytes, name: str) -> Audio:
    """The sound of an audio file in memory, as mono.

    Args:
        content: the file.
        name: what messages call it.

    Raises:
        DataError: as `read_audio`.
    """
    with _sound(name, content, Path(name).suffix) as file:
        _check_channel(name, file, None)
        return _decoded(name, file, 0, None, None)


def probe_audio(path: str | Path) -> AudioRef:
    """A reference to a whole file, from its header alone.

    Raises:
        DataError: the file is missing, unreadable or empty, lacks the channel, or is a wav file that is shorter than
            its header says.
    """
    with _opened(Place.of(str(path))) as file:
        return AudioRef(uri=str(path), sample_rate=int(file.samplerate), num_samples=int(file.frames))


@contextmanager
def _opened(place: Place) -> Iterator[soundfile.SoundFile]:
    content = place.path if place.member is None else read_member(place.path, place.member)
    suffix = Path(place.member or place.path).suffix
    with _sound(place.uri, content, suffix) as file:
        _check_channel(place.uri, file, place.channel)
        yield file


def _check_channel(name: str, file: soundfile.SoundFile, channel: int | None) -> None:
    if channel is None and file.channels > MOST_MIXED:
        raise DataError(
            f"{name}: has {file.channels} channels, expected 1 or 2, which are mixed: the mean of more (of microphones "
            f"apart, of stems) is rarely what is meant; name one, as in {Path(name).name}#channel=0, or mix them down"
        )
    if channel is not None and channel >= file.channels:
        raise DataError(f"{name}: there is no such channel, the file has {file.channels}: channels are counted from 0")


@contextmanager
def _sound(name: str, content: Path | bytes, suffix: str) -> Iterator[soundfile.SoundFile]:
    """An open file, or the content of one, with every fault as one DataError line."""
    try:
        if isinstance(content, Path):
            _check_path(content)
        _check_length(name, content)
        flac = containers.decoded(name, content) if suffix.lower() in containers.SUFFIXES else None
        source = flac.name if flac else BytesIO(content) if isinstance(content, bytes) else str(content)
        with soundfile.SoundFile(source) as file:
            if file.frames == 0:
                raise DataError(f"{name}: the file has a header but no samples, expected audio: remove or re-export it")
            if file.frames > UNKNOWN_LENGTH:
                raise DataError(f"{name}: the header does not tell the length, expected a finished file: re-encode it")
            yield file
    except (soundfile.SoundFileError, RuntimeError, TypeError, OSError) as error:
        reason = " ".join(str(getattr(error, "error_string", error)).split())
        raise DataError(
            f"{name}: cannot be read as audio ({reason}), expected a sound wav, flac, ogg, opus or mp3 file: "
            "convert it, for example with `ffmpeg -i INPUT OUTPUT.flac`"
        ) from error


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path}: is a directory, expected an audio file: give the path of one file")
    if not path.exists():
        raise DataError(f"{path}: no such file, expected an audio file: check the path and the working directory")


def _check_length(name: str, content: Path | bytes) -> None:
    """A wav file must hold the bytes that its header promises; libsndfile silently reads what there is."""
    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
        promised, size = _end_of_samples(file), file.seek(0, SEEK_END)
    if size == 0:
        raise DataError(f"{name}: the file is empty (0 bytes), expected audio: copy or download it again")
    if promised > size:
        raise DataError(
            f"{name}: the file was cut off after {size} bytes, expected {promised} by its header: "
            "copy or download it again"
        )


def _end_of_samples(file: BinaryIO) -> int:
    """Where the samples of a wav file (RIFF or RF64) end by its header; 0 for others, and where it does not say."""
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return 0
    long_size = 0
    while len(chunk := file.read(8)) == 8:
        size = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            size = size if size < OPEN_ENDED else long_size
            return file.tell() + size if size else 0
        body = file.tell()
        if chunk[:4] == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        file.seek(body + size + size % 2)
    return 0


def _check_reference(ref: AudioRef, file: soundfile.SoundFile) -> None:
    if file.samplerate != ref.sample_rate:
        raise DataError(
            f"{ref.uri}: the file has {file.samplerate} Hz, but the reference counts samples at {ref.sample_rate} Hz: "
            "make references with stlm.audio.probe_audio"
        )


def _decoded(uri: str, file: soundfile.SoundFile, first: int, count: int | None, channel: int | None) -> Audio:
    samples = _mono_samples(uri, file, first, count, channel)
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise DataError(f"{uri}: sample {first + bad} is {samples[bad]}, expected finite samples: re-export the file")
    return Audio(samples=samples, sample_rate=int(file.samplerate))


def _mono_samples(
    uri: str, file: soundfile.SoundFile, first: int, count: int | None, channel: int | None
) -> np.ndarray:
    """``float32[N]`` from frame `first`, `count` frames or all; channels are mixed block by block to save memory."""
    channel = 0 if file.channels == 1 else channel
    expected = file.frames - first if count is None else count
    if first + expected > file.frames:
        raise _too_short(uri, file.frames, first + expected)
    if first:
        file.seek(first)
    samples, done = np.empty(expected, np.float32), 0
    while done < expected:
        block = file.read(min(BLOCK, expected - done), dtype="float32", always_2d=True)
        if not len(block):
            break
        samples[done : done + len(block)] = (
            block.mean(axis=1, dtype=np.float32) if channel is None else block[:, channel]
        )
        done += len(block)
    if done < expected and file.format != "MP3":  # the length in an mp3 header is an estimate
        raise _too_short(uri, first + done, first + expected)
    return samples[:done]


def _too_short(uri: str, got: int, expected: int) -> DataError:
    return DataError(
        f"{uri}: the file ends after {got} samples, expected {expected}: it was cut off or changed; "
        "copy it again, or make a new reference with stlm.audio.probe_audio"
    )
