"""Text alone as a source: lines, paragraphs or whole files of ``.txt``, fields of ``.jsonl``, columns of ``.parquet``.

Files are read as they are needed, compressed ones (``.gz``) too; a corpus may be larger than memory.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from stlm.errors import ConfigError, DataError
from stlm.interfaces.source import Source
from stlm.prepare.recorded import fingerprint_of, not_utf8
from stlm.types import Rejected, Utterance

SUFFIXES = (".txt", ".jsonl", ".parquet", ".txt.gz", ".jsonl.gz")
UNITS = ("line", "paragraph", "file")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `TextSource`.

    Args:
        path: a file, or a folder with files anywhere in it.
        unit: what one document is in ``.txt`` files: ``line``, ``paragraph`` (up to an empty line), or ``file``.
        field: key in ``.jsonl``, or column of ``.parquet``, that holds the text.
    """

    path: str = ""
    unit: str = "line"
    field: str = "text"


class TextSource(Source):
    """Documents of text, without speech.

    Raises:
        ConfigError: no path, or an unknown unit. DataError: the path does not exist or holds no such file.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        if not config.path:
            raise ConfigError("source text needs path: set source.path=FILE_OR_DIR")
        if config.unit not in UNITS:
            raise ConfigError(f"unit must be one of {', '.join(UNITS)}, got {config.unit!r}")
        self.path = Path(config.path)
        self.files = _files(self.path)
        if not self.files:
            raise DataError(f"{config.path}: no text here, expected files ({', '.join(SUFFIXES)})")

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        place = 0
        for file in self.files:
            for number, found in enumerate(_documents(file, self.config.unit, self.config.field), 1):
                if isinstance(found, str) and not found.strip():
                    continue
                if place % num_shards == shard:
                    id = f"{file.name if file == self.path else file.relative_to(self.path)}:{number}"
                    yield _utterance(id, file, found)
                place += 1

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of names, sizes and times of the files."""
        return fingerprint_of(self.files)


def build(config: Config) -> TextSource:
    return TextSource(config)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.endswith(SUFFIXES) else []
    return sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())


def _utterance(id: str, file: Path, found: str | DataError) -> Utterance | Rejected:
    if isinstance(found, str):
        return Utterance(id=id, text=found.strip())
    return Rejected(id=id, uri=str(file), reason=str(found))


def _documents(file: Path, unit: str, field: str) -> Iterator[str | DataError]:
    """Texts of a file, or what is wrong with one of them."""
    try:
        if file.name.endswith(".parquet"):
            yield from _column(file, field)
            return
        with cast("Any", gzip.open(file) if file.name.endswith(".gz") else file.open("rb")) as lines:
            if ".jsonl" in file.name:
                yield from (_value(line, field) for line in lines)
            elif unit == "file":
                yield _decoded(lines.read())
            elif unit == "line":
                yield from (_decoded(line) for line in lines)
            else:
                yield from _paragraphs(lines)
    except (OSError, EOFError, ValueError) as error:
        yield DataError(f"the file cannot be read further ({type(error).__name__}: {error}): copy it again")


def _paragraphs(lines: Iterable[bytes]) -> Iterator[str | DataError]:
    for is_text, group in groupby(lines, key=lambda line: bool(line.strip())):
        if is_text:
            yield _decoded(b"".join(group))


def _decoded(content: bytes) -> str | DataError:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return DataError(not_utf8(error))


def _value(line: bytes, field: str) -> str | DataError:
    text = _decoded(line)
    if isinstance(text, DataError) or not text.strip():
        return text
    try:
        found = json.loads(text)[field]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return DataError(f"is no JSON object with {field!r} ({type(error).__name__}: {error})")
    return found if isinstance(found, str) else DataError(f"{field!r} is {str(found)[:40]!r}, expected a text")


def _column(file: Path, field: str) -> Iterator[str | DataError]:
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file)
    if field not in table.schema_arrow.names:
        raise ValueError(f"has the columns {', '.join(table.schema_arrow.names)}, expected {field!r}: set field")
    for batch in table.iter_batches(columns=[field]):
        for value in batch.column(0).to_pylist():
            yield value if isinstance(value, str) else DataError(f"{field!r} is {value!r}, expected a text")
