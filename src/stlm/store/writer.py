"""Writes utterances into one Parquet shard, atomically: the file appears under its name when it is complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stlm.errors import DataError, FormatError
from stlm.store.place import new_file, place
from stlm.store.schema import STREAM_PREFIX, shard_schema
from stlm.types import Audio, AudioRef, StreamSpec, Utterance


class ShardWriter:
    """Context manager around one shard.

    Args:
        path: where the shard appears on success; a local path or a URL.
        streams: specification of each stream; every utterance has either all of them or none.
        text_fingerprint: tokenizer of pre-encoded text, or None if texts are not pre-encoded.
        group_size: utterances per row-group, the unit of shuffle, split and resume.

    When it is closed, `sha256` is the hash of the file, which `stlm.store.verify` compares if the report holds it.

    Raises:
        FormatError: an utterance's stream comes from another encoder.
        DataError: the shard cannot be sent to where it should appear.
    """

    def __init__(
        self,
        path: str | Path,
        streams: Mapping[str, StreamSpec],
        *,
        text_fingerprint: str | None = None,
        group_size: int = 256,
    ) -> None:
        self.path = place(path)
        self.streams = dict(streams)
        self.text_fingerprint = text_fingerprint
        self.group_size = group_size
        self.num_utterances = 0
        self.num_seconds = 0.0
        self.sha256 = ""
        self._rows: list[dict[str, Any]] = []
        self._schema = shard_schema(self.streams, text_fingerprint)

    def __enter__(self) -> ShardWriter:
        with ExitStack() as opened:
            self._local = opened.enter_context(new_file(self.path))
            opened.push(self._sign)
            # a checksum for each page, too: a flipped bit must not become another unit
            writer = pq.ParquetWriter(self._local, self._schema, compression="zstd", write_page_checksum=True)
            self._writer = opened.enter_context(writer)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            self._flush()

    def _sign(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            with self._local.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()

    def write(self, utterance: Utterance) -> None:
        """Append one utterance; in-memory audio is not stored, only its length."""
        self._rows.append(self._row(utterance))
        self.num_utterances += 1
        self.num_seconds += utterance.audio.seconds if utterance.audio is not None else 0.0
        if len(self._rows) >= self.group_size:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            self._writer.write_table(table, row_group_size=len(self._rows))
            self._rows = []

    def _row(self, utterance: Utterance) -> dict[str, Any]:
        _check_text(utterance)
        row: dict[str, Any] = {
            "id": utterance.id,
            "text": utterance.text,
            "speaker": utterance.speaker,
            "labels": json.dumps(dict(utterance.labels)) if utterance.labels else None,
            "meta": json.dumps(dict(utterance.meta)) if utterance.meta else None,
            **_audio_columns(utterance.audio),
            "word_text": [word.text for word in utterance.words],
            "word_start": [word.start for word in utterance.words],
            "word_end": [word.end for word in utterance.words],
            "word_char_start": [word.char_start for word in utterance.words],
            "word_char_end": [word.char_end for word in utterance.words],
            "word_score": [word.score for word in utterance.words],
        }
        if self.text_fingerprint:
            row.update(self._text_columns(utterance))
        for name, spec in self.streams.items():
            row[STREAM_PREFIX + name] = self._codes(utterance, name, spec)
        return row

    def _codes(self, utterance: Utterance, name: str, spec: StreamSpec) -> Any:
        units = utterance.streams.get(name)
        if units is None:
            if utterance.streams:
                raise DataError(f"{utterance.id}: no stream {name!r}, only {sorted(utterance.streams)}")
            return None
        if units.spec.fingerprint != spec.fingerprint:
            raise FormatError(
                f"{utterance.id}: stream {name!r} was made by encoder {units.spec.fingerprint[:12]}, "
                f"this shard holds {spec.fingerprint[:12]}"
            )
        return units.codes.reshape(-1)

    def _text_columns(self, utterance: Utterance) -> dict[str, Any]:
        units = utterance.text_units
        if units is None:
            return {"text_ids": None, "text_id_offsets": None}
        if units.fingerprint != self.text_fingerprint:
            raise FormatError(f"{utterance.id}: text ids were made by another tokenizer than this shard's")
        return {"text_ids": units.ids, "text_id_offsets": units.char_offsets.reshape(-1)}


def _check_text(utterance: Utterance) -> None:
    """Arrow would notice only when the whole group is converted, and not say whose text it is."""
    strings = [
        ("id", utterance.id),
        ("text", utterance.text),
        ("speaker", utterance.speaker),
        ("audio path", getattr(utterance.audio, "uri", None)),
        *((f"word {index}", word.text) for index, word in enumerate(utterance.words)),
    ]
    for name, value in strings:
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            shown = utterance.id.encode(errors="backslashreplace").decode()
            raise DataError(
                f"{shown}: character {error.start} of the {name} is half of a surrogate pair, which is no text: "
                "repair or remove it"
            ) from error


def _audio_columns(audio: Audio | AudioRef | None) -> dict[str, Any]:
    if audio is None:
        return {"audio_uri": None, "audio_sample_rate": None, "audio_start": None, "audio_num_samples": None}
    is_file = isinstance(audio, AudioRef)
    return {
        "audio_uri": audio.uri if is_file else None,
        "audio_sample_rate": audio.sample_rate,
        "audio_start": audio.start if is_file else 0,
        "audio_num_samples": audio.num_samples,
    }
