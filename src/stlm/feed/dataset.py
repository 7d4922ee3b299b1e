"""Packed batches as a torch dataset: logical streams dealt to ranks and workers, each batch with its cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from stlm.codec import Codec
from stlm.errors import ConfigError
from stlm.feed.packing import METHODS, Packer, Row, make_row
from stlm.feed.stream import FeedSource, LogicalStream
from stlm.interfaces.batch import PackedBatch, bounds_of
from stlm.types import TokenSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """How documents become batches.

    Args:
        length: ids per row (the paper: 4,096; section 3.2).
        rows: rows per batch.
        seed: decides order and interleaving.
        num_streams: logical streams; a multiple of ranks times workers, fixed for the life of a run.
        packing: "best_fit" or "split".
        pool: documents that best_fit chooses from.
    """

    length: int = 4096
    rows: int = 8
    seed: int = 0
    num_streams: int = 1
    packing: str = "best_fit"
    pool: int = 64

    def __post_init__(self) -> None:
        for name, least in (("length", 2), ("rows", 1), ("seed", 0), ("num_streams", 1), ("pool", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"feed: {name} must be at least {least}, got {getattr(self, name)}")
        if self.packing not in METHODS:
            raise ConfigError(f"feed: packing must be one of {', '.join(METHODS)}, got {self.packing!r}")

    def check_lanes(self, ranks: int, workers: int) -> None:
        """Raise ConfigError if the logical streams cannot be dealt evenly to ranks and loader processes."""
        if workers < 0:
            raise ConfigError(f"feed: num_workers must be at least 0, got {workers}")
        lanes = ranks * max(1, workers)
        if self.num_streams % lanes:
            raise ConfigError(
                f"feed.num_streams is {self.num_streams}, not a multiple of {ranks} ranks x {max(1, workers)} "
                f"workers = {lanes}: choose a multiple when the run starts"
            )


class PackedDataset(IterableDataset[PackedBatch]):
    """Endless batches, each from one logical stream, streams in turn.

    Args:
        sources: builds the mixture inside the worker that reads it.
        codec: builds the codec there.
        options: batch geometry and seed.
        rank, world_size: this process among those that train.
        cursor: per-stream positions to go on from, as batches carry them.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[FeedSource]],
        codec: Callable[[], Codec],
        options: FeedOptions,
        *,
        rank: int = 0,
        world_size: int = 1,
        cursor: Mapping[str, Any] | None = None,
    ) -> None:
        self.sources = sources
        self.codec = codec
        self.options = options
        self.rank = rank
        self.world_size = world_size
        self.cursor = dict(cursor or {})

    def __iter__(self) -> Iterator[PackedBatch]:
        worker = get_worker_info()
        part, parts = (worker.id, worker.num_workers) if worker else (0, 1)
        self.options.check_lanes(self.world_size, parts)
        counts = {index: int(self.cursor.get(str(index), {}).get("batches", 0)) for index in self._of_rank()}
        # a loader takes batches from its workers in turn, from the first one on: the one whose turn it is goes first
        part = (part + sum(counts.values())) % parts
        mine = self._of_rank()[part::parts]
        packers = {index: self._packer(index) for index in mine}
        while True:
            # the stream that is furthest behind gives the next batch, so that a resumed run keeps the order
            index = min(mine, key=lambda stream: (counts[stream], stream))
            counts[index] += 1
            rows = [packers[index].next() for _ in range(self.options.rows)]
            yield collate(rows, cursor={str(index): {"batches": counts[index], **packers[index].state()}})

    def _of_rank(self) -> range:
        """Streams of this rank. Dealt one by one, so that the n-th batches of all ranks together are those that one
        rank reads in turn: the ids of an optimizer step do not depend on the number of ranks."""
        return range(self.rank, self.options.num_streams, self.world_size)

    def _packer(self, index: int) -> Packer:
        codec = self.codec()
        stream = LogicalStream(
            self.sources(), codec, index=index, num_streams=self.options.num_streams, seed=self.options.seed
        )
        packer = Packer(
            stream,
            length=self.options.length,
            pad=codec.format.pad or 0,
            method=self.options.packing,
            pool=self.options.pool,
        )
        if str(index) in self.cursor:
            packer.load(self.cursor[str(index)])
        return packer


def collate(rows: Sequence[Row], cursor: Mapping[str, Any] | None = None) -> PackedBatch:
    """Rows to one batch of tensors."""
    segments = torch.from_numpy(np.stack([row.segments for row in rows]))
    return PackedBatch(
        ids=torch.from_numpy(np.stack([row.ids for row in rows])),
        labels=torch.from_numpy(np.stack([row.labels for row in rows])),
        positions=torch.from_numpy(np.stack([row.positions for row in rows])),
        segments=segments,
        bounds=bounds_of(segments),
        origins=tuple((ref.source, ref.epoch, ref.group, ref.row) for row in rows for ref in row.origins),
        cursor=dict(cursor or {}),
    )


def batch_documents(documents: Sequence[TokenSequence], pad: int = 0) -> PackedBatch:
    """One document per row, padded on the right to the longest; for scoring and validation."""
    length = max((len(document) for document in documents), default=0)
    return collate([make_row([document], length, pad) for document in documents])
