"""Where a sound is: a file, a file in a tar, or one channel of either, as one line of text.

| uri | what it names |
|---|---|
| ``a.wav`` | a file, its channels mixed |
| ``a.wav#channel=1`` | its second channel alone |
| ``tar://b/a.wav::c.tar`` | the file ``b/a.wav`` in the archive ``c.tar``, as fsspec chains them |

A tar has no table of contents: its headers are read once (about 30 us of CPU a file) and kept while it does not change.
Its files are then read where they lie; nothing is unpacked.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stlm.errors import DataError

URI = re.compile(r"(?:tar://(?P<member>.+?)::)?(?P<path>.*?)(?:#channel=(?P<channel>\d+))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A uri in parts.

    Args:
        path: a file on disk.
        member: name in the tar that the file is; None: the file itself is meant.
        channel: counted from 0; None: all, mixed.
    """

    path: Path
    member: str | None = None
    channel: int | None = None

    @classmethod
    def of(cls, uri: str) -> Place:
        parts = URI.fullmatch(uri)
        assert parts is not None  # the path may be anything
        channel = parts["channel"]
        return cls(path=Path(parts["path"]), member=parts["member"], channel=None if channel is None else int(channel))

    @property
    def uri(self) -> str:
        file = str(self.path) if self.member is None else f"tar://{self.member}::{self.path}"
        return file if self.channel is None else f"{file}#channel={self.channel}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TarIndex:
    """What an uncompressed tar holds.

    Args:
        files: first byte and size of each file by its name, or what is wrong with it.
        fault: why there may have been more files; None: the archive is whole.
    """

    files: Mapping[str, tuple[int, int] | str]
    fault: str | None


def tar_index(path: Path) -> TarIndex:
    """The files of a tar.

    Raises:
        DataError: there is no file, or it is no uncompressed tar.
    """
    try:
        state = path.stat()
        return _index(path, state.st_size, state.st_mtime_ns)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: cannot be read as a tar ({error}), expected an uncompressed .tar file") from error


def read_member(path: Path, name: str) -> bytes:
    """The content of a file in a tar.

    Raises:
        DataError: the archive cannot be read, or does not hold that file whole.
    """
    place = tar_index(path).files.get(name, "is not in this archive")
    if isinstance(place, str):
        raise DataError(f"{path}: {name} {place}, expected one whole file: copy or pack the archive again")
    start, size = place
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


@lru_cache(maxsize=8)
def _index(path: Path, size: int, time: int) -> TarIndex:
    files: dict[str, tuple[int, int] | str] = {}
    with tarfile.open(path, "r:") as archive, path.open("rb") as content:
        try:
            for member in archive:
                if member.isdir():
                    continue
                if member.name in files:
                    files[member.name] = "is there twice"
                elif not member.isreg() or member.issparse():
                    files[member.name] = "is a link or another thing that is no plain file"
                elif member.offset_data + member.size > size:
                    files[member.name] = f"is cut off, for the archive ends after {size} bytes"
                else:
                    files[member.name] = (member.offset_data, member.size)
        except tarfile.TarError:
            pass  # the block at which it stopped tells the same, and whether tarfile noticed or not
        content.seek(archive.offset)
        end = content.read(tarfile.BLOCKSIZE)
    whole = end == bytes(tarfile.BLOCKSIZE)
    fault = f"ends or is damaged at byte {min(archive.offset, size)}, expected more files or the mark of its end"
    return TarIndex(files=files, fault=None if whole else fault)
