"""A directory of shards as one set: groups in a fixed order, one specification per stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stlm.errors import DataError, FormatError
from stlm.store.place import files, place
from stlm.store.reader import Group, Shard
from stlm.types import StreamSpec, Utterance


class ShardSet:
    """All shards of a directory, in order of name.

    Args:
        directory: where ``*.parquet`` files are, local or a URL.
        stream_names: streams to read; None for all, an empty sequence for text alone.

    Raises:
        DataError: there is no shard.
        FormatError: two shards disagree on a stream's fingerprint.
    """

    def __init__(self, directory: str | Path, stream_names: Sequence[str] | None = None) -> None:
        self.directory = place(directory)
        paths = files(self.directory, "*.parquet")
        if not paths:
            raise DataError(f"{directory}: no *.parquet shard here: make some with stlm prepare out={directory}")
        self.shards = [Shard(path, stream_names) for path in paths]
        self.streams = self._agree()
        self._groups = [(shard, index) for shard in self.shards for index in range(shard.num_groups)]

    def _agree(self) -> dict[str, StreamSpec]:
        first = self.shards[0]
        for shard in self.shards[1:]:
            for name, spec in first.streams.items():
                other = shard.streams.get(name)
                if other is None or other.fingerprint != spec.fingerprint:
                    raise FormatError(
                        f"{shard.path}: stream {name!r} has fingerprint {other.fingerprint[:12] if other else 'none'}, "
                        f"{first.path.name} has {spec.fingerprint[:12]}: prepare both with the same encoder"
                    )
        return first.streams

    def check_streams(self, expected: Mapping[str, StreamSpec]) -> None:
        """Raise FormatError unless every stream was made by the expected encoder."""
        for name, spec in self.streams.items():
            if name in expected and expected[name].fingerprint != spec.fingerprint:
                raise FormatError(
                    f"{self.directory}: stream {name!r} has fingerprint {spec.fingerprint[:12]}, the encoder here has "
                    f"{expected[name].fingerprint[:12]}: prepare the shards again or use the encoder that made them"
                )

    @property
    def num_groups(self) -> int:
        return len(self._groups)

    @property
    def num_utterances(self) -> int:
        return sum(shard.num_utterances for shard in self.shards)

    def group(self, index: int, fields: frozenset[str] | None = None) -> Group:
        """Row-group `index` of the set; with `fields`, only those fields of the utterances."""
        shard, inner = self._groups[index]
        return shard.group(inner, fields)

    def __iter__(self) -> Iterator[Utterance]:
        for shard in self.shards:
            yield from shard
