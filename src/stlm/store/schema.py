"""The shard schema: one utterance a row, units as flat uint16 lists, one column per stream.

Shards store stream fingerprints only, never a vocabulary: Base and Expressive share the same raw shards. A base model
never reads the pitch column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa

from stlm.errors import FormatError
from stlm.types import StreamSpec

VERSION = 1
META_KEY = b"stlm.shard"
STREAM_PREFIX = "units."

BASE_FIELDS = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("text", pa.string()),
    pa.field("speaker", pa.string()),
    pa.field("labels", pa.string()),
    pa.field("meta", pa.string()),
    pa.field("audio_uri", pa.string()),
    pa.field("audio_sample_rate", pa.int32()),
    pa.field("audio_start", pa.int64()),
    pa.field("audio_num_samples", pa.int64()),
    pa.field("word_text", pa.list_(pa.string())),
    pa.field("word_start", pa.list_(pa.int64())),
    pa.field("word_end", pa.list_(pa.int64())),
    pa.field("word_char_start", pa.list_(pa.int32())),
    pa.field("word_char_end", pa.list_(pa.int32())),
    pa.field("word_score", pa.list_(pa.float32())),
]
COLUMNS_OF = {
    "text": ("text",),
    "speaker": ("speaker",),
    "labels": ("labels",),
    "meta": ("meta",),
    "audio": ("audio_uri", "audio_sample_rate", "audio_start", "audio_num_samples"),
    "words": ("word_text", "word_start", "word_end", "word_char_start", "word_char_end", "word_score"),
}
"""Which columns hold which field of an utterance; streams and text ids have columns of their own."""

TEXT_ID_FIELDS = [
    pa.field("text_ids", pa.list_(pa.int32())),
    pa.field("text_id_offsets", pa.list_(pa.int32())),  # start and end in turn
]


def shard_schema(streams: Mapping[str, StreamSpec], text_fingerprint: str | None = None) -> pa.Schema:
    """Schema with the streams' specifications in its metadata."""
    columns = [pa.field(STREAM_PREFIX + name, pa.list_(pa.uint16())) for name in streams]
    extra = TEXT_ID_FIELDS if text_fingerprint else []
    meta = {
        "version": VERSION,
        "streams": {name: asdict(spec) for name, spec in streams.items()},
        "text_fingerprint": text_fingerprint,
    }
    return pa.schema([*BASE_FIELDS, *extra, *columns], metadata={META_KEY: json.dumps(meta).encode()})


def read_meta(schema: pa.Schema, path: str) -> tuple[dict[str, StreamSpec], str | None]:
    """Stream specifications and text tokenizer of a shard.

    Raises:
        FormatError: the file is not a stlm shard, of another version, or damaged.
    """
    raw = (schema.metadata or {}).get(META_KEY)
    if raw is None:
        raise FormatError(
            f"{path}: not a stlm shard (no {META_KEY.decode()!r} in its metadata): write it with stlm prepare"
        )
    try:
        meta = json.loads(raw)
        version = meta["version"]
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(path, error) from error
    if version != VERSION:
        raise FormatError(f"{path}: shard version {version}, this stlm reads {VERSION}: prepare the data again")
    try:
        streams = {
            name: StreamSpec(**{**spec, "codebook_sizes": tuple(spec["codebook_sizes"])})
            for name, spec in meta["streams"].items()
        }
        text_fingerprint = meta["text_fingerprint"]
    except (LookupError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    for name in shard_schema(streams, text_fingerprint).names:
        if name not in schema.names:
            raise FormatError(f"{path}: column {name!r} is missing, the shard has {schema.names}: prepare it again")
    return streams, text_fingerprint


def _damaged(path: str, error: Exception) -> FormatError:
    return FormatError(
        f"{path}: the description of its streams cannot be read ({type(error).__name__}: {error}): prepare it again"
    )
