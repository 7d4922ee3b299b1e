"""Sounds that libsndfile does not read (.m4a, .mp4, .webm, …), decoded once into a temporary flac.

By PyAV, whose wheels bring FFmpeg along, so that nothing has to be installed on the system. 16 bits a sample; what is
not sound is passed over. Memory does not grow with the length.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import soundfile

from stlm.errors import DataError

SUFFIXES = (".m4a", ".m4b", ".mp4", ".mov", ".aac", ".webm", ".mka", ".mkv", ".wma", ".amr", ".3gp")


def decoded(name: str, content: Path | bytes) -> Any:
    """A named temporary file, there as long as the object is.

    Raises:
        DataError: there is no sound in it, it is damaged, or PyAV is not installed.
    """
    if isinstance(content, bytes):
        return _decode(name, BytesIO(content))
    state = content.stat()
    return _decoded_file(content, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4)
def _decoded_file(path: Path, size: int, time: int) -> Any:
    """Kept for the pieces that a long recording is cut into: finding one means decoding all before it."""
    return _decode(str(path), str(path))


def _decode(name: str, content: str | BytesIO) -> Any:
    try:
        av: Any = import_module("av")
    except ImportError as error:
        raise DataError(f"{name}: sounds of this kind need PyAV: pip install 'stlm[containers]'") from error
    try:
        with av.open(content) as container:
            if not container.streams.audio:
                raise DataError(f"{name}: holds no sound, expected an audio track: give another file")
            target = NamedTemporaryFile(prefix="stlm-", suffix=".flac")  # noqa: SIM115 (it outlives this function)
            _write(av, container, target.name)
            return target
    except av.FFmpegError as error:
        raise DataError(
            f"{name}: cannot be decoded ({' '.join(str(error.strerror or error).split())}), expected sound: copy or "
            "convert it again"
        ) from error


def _write(av: Any, container: Any, target: str) -> None:
    stream = container.streams.audio[0]
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    interleaved = av.AudioResampler(format="s16", layout=stream.codec_context.layout, rate=rate)
    with soundfile.SoundFile(target, "w", samplerate=rate, channels=channels, format="FLAC", subtype="PCM_16") as file:
        for frame in container.decode(stream):
            for part in interleaved.resample(frame):
                file.write(part.to_ndarray().reshape(-1, channels).astype(np.int16, copy=False))
