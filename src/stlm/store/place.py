"""Where shards are: a local path or a URL that fsspec knows (``s3://``, ``gs://``, ``memory://``), as one kind of path.

A URL becomes a path of universal_pathlib, which has the methods of `pathlib.Path` and goes by that type here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from stlm.errors import ConfigError, DataError, did_you_mean


def place(where: str | Path) -> Path:
    """A path for text: local unless it begins with ``scheme://``. What is a path already stays as it is.

    Raises:
        ConfigError: the scheme is unknown, or the package that reaches it is not installed.
    """
    if not isinstance(where, str):
        return where
    scheme, separator, rest = where.partition("://")
    if not separator:
        return Path(where)
    if scheme == "file":
        return Path(rest)
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError as error:
        known = fsspec.available_protocols()
        raise ConfigError(
            f"{where}: unknown scheme {scheme!r}{did_you_mean(scheme, known)}: expected a local path or a URL such as "
            "s3://BUCKET/DIR or gs://BUCKET/DIR"
        ) from error
    except ImportError as error:
        raise ConfigError(f"{where}: the package that reaches {scheme}:// is missing: {error}") from error
    from upath import UPath

    return cast("Path", UPath(where))


def is_local(path: Path) -> bool:
    return isinstance(path, Path)


def faults_of(path: Path) -> tuple[type[Exception], ...]:
    """What reading and writing there may raise; away from local disks each driver has errors of its own."""
    return (OSError,) if is_local(path) else (Exception,)


def first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def files(directory: Path, pattern: str) -> list[Path]:
    """The files of a directory that fit a pattern, in order of name; none where there is no directory.

    Raises:
        DataError: the store cannot be reached.
    """
    if is_local(directory):
        return sorted(directory.glob(pattern))
    try:
        _driver(directory).invalidate_cache()  # other processes may have written since it last looked
        return sorted(directory.glob(pattern))
    except Exception as error:
        raise DataError(
            f"{directory}: cannot be listed ({first_line(error)}): check its name, the network and your credentials"
        ) from error


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A local path to write to; the file appears as `target`, whole, when the block ends, and not at all if it raises.

    On a local disk it is renamed from ``.NAME.PID.partial`` beside the target; elsewhere it is sent from a temporary
    directory.

    Raises:
        DataError: it cannot be sent.
    """
    if is_local(target):
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            yield partial
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return
    with TemporaryDirectory(prefix="stlm-") as folder:
        local = Path(folder, target.name)
        yield local
        try:
            _driver(target).put_file(str(local), _key(target))
        except Exception as error:
            raise DataError(
                f"{target}: cannot be written ({first_line(error)}): check that the bucket exists and that your "
                "credentials may write to it"
            ) from error


def open_file(path: Path) -> Any:
    """What pyarrow reads from: the local path, or a file that fetches only the ranges that are asked for.

    A driver's read-ahead would hold megabytes for each open shard of a set; Arrow joins neighbouring ranges itself.
    """
    return path if is_local(path) else _driver(path).open(_key(path), "rb", cache_type="none")


def _driver(path: Path) -> Any:
    return cast("Any", path).fs


def _key(path: Path) -> str:
    return cast("Any", path).path
