"""One logical stream of documents: mixture of sources, random order, and a cursor that resumes exactly.

The data of a run are N logical streams, fixed when the run starts and dealt to ranks and workers. A document is a pure
function of (seed, source, epoch, group, row), so the cursor is a handful of integers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError
from stlm.interfaces.interleaver import Interleaver
from stlm.store import Group, ShardSet
from stlm.types import TokenSequence, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSource:
    """One ingredient of the mixture.

    Args:
        name: for logs ("speech", "text", "interleaved").
        shards: its utterances.
        interleaver: how an utterance becomes a document.
        weight: its share of the tokens seen.
        policy: the interleaver's name and options as plain values, compared when a run is resumed.

    Raises:
        ConfigError: the weight is no share.
    """

    name: str
    shards: ShardSet
    interleaver: Interleaver
    weight: float = 1.0
    policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"source {self.name!r}: mixture weights must be positive numbers, got {self.weight}")

    def utterances(self) -> Iterator[Utterance]:
        """All of them, in the order of the shards."""
        for index in range(self.shards.num_groups):
            group = self.shards.group(index, self.interleaver.reads)
            for row in range(len(group)):
                yield group.utterance(row)

    def id_of(self, group: int, row: int) -> str:
        """The id of an utterance by its place."""
        return self.shards.group(group, self.interleaver.reads).utterance(row).id

    def describe(self) -> dict[str, Any]:
        """All that decides which documents this source gives, as plain values; costs one small read per shard."""
        digest = blake2b(digest_size=16)
        for shard in self.shards.shards:
            digest.update(shard.path.name.encode() + _footer(shard.path))
        policy = dict(self.policy) or {"name": type(self.interleaver).__name__}
        return {"weight": float(self.weight), "interleaver": policy, "shards": digest.hexdigest()}


def _footer(path: Path) -> bytes:
    """A Parquet file's metadata: sizes, places and extremes of every column chunk."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        size = int.from_bytes(file.read(4), "little")
        file.seek(-8 - size, os.SEEK_END)
        return file.read(size)


def difference(then: Any, now: Any, name: str = "") -> str:
    """The first place where two plain values differ, as "name was x, is y"; empty if there is none."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        inner = (
            difference(then.get(key), now.get(key), f"{name}.{key}" if name else str(key)) for key in {**then, **now}
        )
        return next(filter(None, inner), "")
    return "" if then == now else f"{name} was {then!r}, is {now!r}"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Where a document comes from; enough to make it again."""

    source: int
    epoch: int
    group: int
    row: int


class DocumentRandom:
    """The interleaving generator of an utterance in an epoch; nothing else decides its draw.

    One counter-based generator is keyed anew for each document: making a fresh one costs ten times as much.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._state: dict[str, Any] = dict(self._bits.state)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def of(self, epoch: int, id: str) -> np.random.Generator:
        """The generator at the start of its draws for this document; valid until the next call."""
        digest = blake2b(f"{self.seed}:{epoch}:{id}".encode(), digest_size=16).digest()
        key = np.frombuffer(digest, np.uint64)
        self._state["state"] = {"counter": ZERO_COUNTER, "key": key}
        self._bits.state = self._state
        return self._generator


ZERO_COUNTER = np.zeros(4, np.uint64)


class SourceCursor:
    """Walks one source's row-groups in a random order per epoch, keeping every N-th group.

    Args:
        source: what to walk.
        index: the source's place in the mixture, part of the shuffle's key.
        stream, num_streams: which part of the groups is ours.
        seed: the run's seed.

    Raises:
        ConfigError: there are fewer row-groups than streams.
    """

    def __init__(self, source: FeedSource, index: int, stream: int, num_streams: int, seed: int) -> None:
        if source.shards.num_groups < num_streams:
            raise ConfigError(
                f"source {source.name!r} has {source.shards.num_groups} row-groups, fewer than the {num_streams} "
                "logical streams of the feed: lower feed.num_streams or prepare with a smaller group_size"
            )
        self.source = source
        self.index = index
        self.stream = stream
        self.num_streams = num_streams
        self.seed = seed
        self.epoch = 0
        self.position = 0
        self.row = 0
        self._plan_epoch = -1
        self._plan: list[int] = []
        self._group_index = -1
        self._group: Group | None = None
        self._order: list[int] = []
        self._accepted = False

    def state(self) -> list[int]:
        return [self.epoch, self.position, self.row]

    def load(self, state: Sequence[int]) -> None:
        self.epoch, self.position, self.row = state

    def next(self) -> tuple[Ref, Utterance]:
        """The next utterance that the interleaver accepts, starting a new epoch where one ends."""
        while True:
            plan = self._epoch_plan()
            if self.position >= len(plan):
                self._end_epoch()
                continue
            group_index = plan[self.position]
            group, order = self._open(group_index)
            while self.row < len(order):
                ref = Ref(self.index, self.epoch, group_index, order[self.row])
                self.row += 1
                utterance = group.utterance(ref.row)
                if self.source.interleaver.accepts(utterance):
                    self._accepted = True
                    return ref, utterance
            self.position, self.row = self.position + 1, 0

    def _end_epoch(self) -> None:
        if not self._accepted:
            self._check_acceptance()
        self.epoch, self.position, self.row, self._accepted = self.epoch + 1, 0, 0, False

    def _check_acceptance(self) -> None:
        """Raise if the policy accepts nothing at all.

        Other streams' groups may hold what it needs, and so may the part of the epoch before a resume.
        """
        policy = self.source.interleaver
        if any(policy.accepts(utterance) for utterance in self.source.utterances()):
            return
        raise DataError(
            f"source {self.source.name!r}: {type(policy).__name__} accepts no utterance of "
            f"{self.source.shards.directory}: "
            "it needs what these shards do not have (text, units or word times)"
        )

    def _epoch_plan(self) -> list[int]:
        if self._plan_epoch != self.epoch:
            rng = np.random.default_rng([self.seed, self.index, self.epoch])
            order = rng.permutation(self.source.shards.num_groups)
            self._plan = order[self.stream :: self.num_streams].tolist()
            self._plan_epoch = self.epoch
        return self._plan

    def _open(self, group_index: int) -> tuple[Group, list[int]]:
        if self._group is None or self._group_index != group_index:
            self._group = self.source.shards.group(group_index, self.source.interleaver.reads)
            self._group_index = group_index
            self._order = []
        if not self._order or self._order_epoch != self.epoch:
            rng = np.random.default_rng([self.seed, self.index, self.epoch, group_index])
            self._order = rng.permutation(len(self._group)).tolist()
            self._order_epoch = self.epoch
        return self._group, self._order

    _order_epoch = -1


class LogicalStream:
    """An endless, resumable sequence of encoded documents with the mixture's proportions by tokens.

    Args:
        sources: the mixture; at each step the source furthest below its share of tokens gives the next document.
        codec: turns documents into ids.
        index, num_streams: which of the run's logical streams this is.
        seed: the run's seed.
    """

    def __init__(
        self, sources: Sequence[FeedSource], codec: Codec, *, index: int = 0, num_streams: int = 1, seed: int = 0
    ) -> None:
        total = sum(source.weight for source in sources)
        if not sources or total <= 0 or any(source.weight < 0 for source in sources):
            raise ConfigError(f"mixture weights must be positive, got {[source.weight for source in sources]}")
        self.sources = list(sources)
        self.codec = codec
        self.seed = seed
        self.weights = [source.weight / total for source in sources]
        self.cursors = [SourceCursor(source, number, index, num_streams, seed) for number, source in enumerate(sources)]
        self.tokens_seen = [0] * len(sources)
        self._random = DocumentRandom(seed)
        self._idle = np.random.default_rng(0)

    def state(self) -> dict[str, Any]:
        return {"cursors": [cursor.state() for cursor in self.cursors], "tokens_seen": list(self.tokens_seen)}

    def load(self, state: dict[str, Any]) -> None:
        for cursor, saved in zip(self.cursors, state["cursors"], strict=True):
            cursor.load(saved)
        self.tokens_seen = list(state["tokens_seen"])

    def next(self) -> tuple[Ref, TokenSequence]:
        """The next document and where it came from."""
        chosen = self._furthest_behind()
        ref, utterance = self.cursors[chosen].next()
        sequence = self._encode(ref, utterance)
        self.tokens_seen[chosen] += len(sequence)
        return ref, sequence

    def _furthest_behind(self) -> int:
        if len(self.weights) == 1:
            return 0
        total = sum(self.tokens_seen)
        deficits = [
            weight * total - seen if weight else -np.inf
            for weight, seen in zip(self.weights, self.tokens_seen, strict=True)
        ]
        return deficits.index(max(deficits))

    def again(self, ref: Ref) -> TokenSequence:
        """Make the document of a reference once more, on resume."""
        source = self.sources[ref.source]
        group = source.shards.group(ref.group, source.interleaver.reads)
        return self._encode(ref, group.utterance(ref.row))

    def _encode(self, ref: Ref, utterance: Utterance) -> TokenSequence:
        policy = self.sources[ref.source].interleaver
        rng = self._random.of(ref.epoch, utterance.id) if policy.is_random else self._idle
        return self.codec.encode(policy.interleave(utterance, rng))

    def __iter__(self) -> Iterator[tuple[Ref, TokenSequence]]:
        while True:
            yield self.next()
