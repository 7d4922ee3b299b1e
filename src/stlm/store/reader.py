"""Reads shards row-group by row-group; columns stay NumPy arrays until a row is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stlm.errors import DataError, FormatError
from stlm.store.place import faults_of, first_line, is_local, open_file, place
from stlm.store.schema import COLUMNS_OF, STREAM_PREFIX, TEXT_ID_FIELDS, read_meta
from stlm.types import AudioRef, StreamSpec, TextUnits, Units, Utterance, Word


class Ragged:
    """A list column as one flat array: row i is ``values[offsets[i]:offsets[i + 1]]``."""

    __slots__ = ("is_null", "offsets", "values")

    def __init__(self, column: pa.ChunkedArray) -> None:
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks)
        offsets = array.offsets.to_numpy()
        self.offsets = (offsets - offsets[0]).tolist()
        values = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        self.values = values.to_numpy(zero_copy_only=False)
        self.is_null = array.is_null().to_numpy(zero_copy_only=False).tolist() if array.null_count else None

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


class Group:
    """One row-group in memory.

    Args:
        table: the rows.
        streams: specification of the streams to read.
        text_fingerprint: tokenizer of the text ids, if the shard has them.
        fields: fields of the utterances that were read; None for all.
    """

    def __init__(
        self,
        table: pa.Table,
        streams: dict[str, StreamSpec],
        text_fingerprint: str | None,
        fields: frozenset[str] | None = None,
    ) -> None:
        self._table = table
        self.streams = streams
        self._text_fingerprint = text_fingerprint
        self._fields = fields

    def __len__(self) -> int:
        return self._table.num_rows

    def _reads(self, field: str) -> bool:
        return self._fields is None or field in self._fields

    @cached_property
    def ids(self) -> list[str]:
        return self._table.column("id").to_pylist()

    @cached_property
    def _units(self) -> dict[str, Ragged]:
        streams = self.streams if self._reads("streams") else {}
        return {name: Ragged(self._table.column(STREAM_PREFIX + name)) for name in streams}

    @cached_property
    def _words(self) -> list[Ragged] | None:
        if not self._reads("words"):
            return None
        return [Ragged(self._table.column(name)) for name in COLUMNS_OF["words"]]

    @cached_property
    def _text_ids(self) -> tuple[Ragged, Ragged] | None:
        if self._text_fingerprint is None or not self._reads("text_units"):
            return None
        ids, offsets = (Ragged(self._table.column(field.name)) for field in TEXT_ID_FIELDS)
        return ids, offsets

    @cached_property
    def _plain(self) -> dict[str, list[Any]]:
        """Columns of scalars; those of fields that are not read hold None."""
        nothing = [None] * len(self)
        return {
            name: self._table.column(name).to_pylist() if self._reads(field) else nothing
            for field in ("text", "speaker", "labels", "meta", "audio")
            for name in COLUMNS_OF[field]
        }

    def utterance(self, row: int) -> Utterance:
        """Row `row` as an utterance."""
        plain = self._plain
        labels, meta = plain["labels"][row], plain["meta"][row]
        return Utterance(
            id=self.ids[row],
            text=plain["text"][row],
            audio=self._audio(row),
            words=self._word_row(row),
            streams=self._stream_row(row),
            text_units=self._text_row(row),
            speaker=plain["speaker"][row],
            labels=json.loads(labels) if labels else {},
            meta=json.loads(meta) if meta else {},
        )

    def _audio(self, row: int) -> AudioRef | None:
        rate = self._plain["audio_sample_rate"][row]
        if rate is None:
            return None
        return AudioRef(
            uri=self._plain["audio_uri"][row] or "",
            sample_rate=rate,
            start=self._plain["audio_start"][row],
            num_samples=self._plain["audio_num_samples"][row],
        )

    def _stream_row(self, row: int) -> dict[str, Units]:
        streams = {}
        for name, ragged in self._units.items():
            if ragged.is_null is not None and ragged.is_null[row]:
                continue
            spec = self.streams[name]
            codes = ragged[row].reshape(-1, spec.num_codebooks)
            streams[name] = Units(spec=spec, codes=codes)
        return streams

    def _word_row(self, row: int) -> tuple[Word, ...]:
        if self._words is None:
            return ()
        offsets = self._words[0].offsets
        first, last = offsets[row], offsets[row + 1]
        columns = [column.values[first:last].tolist() for column in self._words]
        return tuple(
            Word(
                text=word,
                start=start,
                end=end,
                char_start=char_start,
                char_end=char_end,
                score=None if score is None or score != score else score,
            )
            for word, start, end, char_start, char_end, score in zip(*columns, strict=True)
        )

    def _text_row(self, row: int) -> TextUnits | None:
        if self._text_ids is None or self._text_fingerprint is None:
            return None
        ids, offsets = self._text_ids
        if ids.is_null is not None and ids.is_null[row]:
            return None
        return TextUnits(ids=ids[row], char_offsets=offsets[row].reshape(-1, 2), fingerprint=self._text_fingerprint)


class Shard:
    """One Parquet shard.

    Args:
        path: the file, local or a URL; elsewhere than on a local disk a row-group is fetched, never the whole file.
        stream_names: streams to read; None for all.

    Raises:
        DataError: the file cannot be read.
        FormatError: it is no shard, or lacks a stream.
    """

    def __init__(self, path: str | Path, stream_names: Sequence[str] | None = None) -> None:
        self.path = path = place(path)
        try:
            self._file = pq.ParquetFile(open_file(path), pre_buffer=not is_local(path), page_checksum_verification=True)
        except (pa.ArrowException, *faults_of(path)) as error:
            raise DataError(
                f"{path}: cannot be read as a Parquet shard ({first_line(error)}): if it is damaged, delete it and "
                "prepare again"
            ) from error
        self.all_streams, self.text_fingerprint = read_meta(self._file.schema_arrow, str(path))
        names = list(self.all_streams) if stream_names is None else list(stream_names)
        missing = [name for name in names if name not in self.all_streams]
        if missing:
            raise FormatError(f"{path}: no stream {missing[0]!r}, the shard holds {sorted(self.all_streams)}")
        self.streams = {name: self.all_streams[name] for name in names}

    @property
    def num_groups(self) -> int:
        return self._file.num_row_groups

    @property
    def num_utterances(self) -> int:
        return self._file.metadata.num_rows

    def group(self, index: int, fields: frozenset[str] | None = None) -> Group:
        """Read one row-group; with `fields`, only those fields of the utterances (others stay empty)."""
        columns = ["id"]
        for field, names in COLUMNS_OF.items():
            columns += names if fields is None or field in fields else ()
        if fields is None or "streams" in fields:
            columns += [STREAM_PREFIX + name for name in self.streams]
        if self.text_fingerprint and (fields is None or "text_units" in fields):
            columns += [field.name for field in TEXT_ID_FIELDS]
        return Group(self.table(index, columns), self.streams, self.text_fingerprint, fields)

    def table(self, index: int, columns: Sequence[str]) -> pa.Table:
        """Columns of one row-group as they are stored.

        Raises:
            DataError: the row-group is damaged.
        """
        try:
            return self._file.read_row_group(index, columns=columns, use_threads=False)
        except (pa.ArrowException, *faults_of(self.path)) as error:
            raise DataError(
                f"{self.path}: row-group {index} is damaged ({first_line(error)}): delete the shard and prepare again"
            ) from error

    def __iter__(self) -> Iterator[Utterance]:
        for index in range(self.num_groups):
            group = self.group(index)
            for row in range(len(group)):
                yield group.utterance(row)
