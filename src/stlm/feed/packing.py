"""Packs documents into rows of one length.

Two ways: `split` cuts a document where the row ends and goes on in the next row (no padding, some context lost);
`best_fit` keeps a pool of documents and fills each row with the longest that still fits, cutting only documents longer
than a row (about one per cent of padding, no context lost; the pool is held in memory).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from stlm.errors import ConfigError
from stlm.feed.stream import LogicalStream, Ref
from stlm.types import TokenSequence

IGNORE = -100
METHODS = ("best_fit", "split")


class Pending(NamedTuple):
    """A document, or the rest of one, that waits for a row; sorts by length, then age (which is unique)."""

    length: int
    order: int
    ref: Ref
    start: int
    sequence: TokenSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One packed row: arrays of length S (see `PackedBatch`), and where each of its documents came from."""

    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    segments: np.ndarray
    origins: Sequence[Ref] = ()


class Packer:
    """Draws documents from a logical stream and gives rows.

    Args:
        stream: where documents come from.
        length: ids per row.
        pad: id written into padding.
        method: "best_fit" or "split".
        pool: documents that best_fit chooses from.
    """

    def __init__(
        self, stream: LogicalStream, *, length: int, pad: int = 0, method: str = "best_fit", pool: int = 64
    ) -> None:
        if method not in METHODS:
            raise ConfigError(f"packing must be 'best_fit' or 'split', got {method!r}")
        if length < 2:
            raise ConfigError(f"rows need at least 2 ids, got {length}")
        self.stream = stream
        self.length = length
        self.pad = pad
        self.pool_size = pool if method == "best_fit" else 1
        self.method = method
        self.tokens_taken: Counter[int] = Counter()  # by source, padding not counted
        self._pool: list[Pending] = []
        self._order = 0

    def state(self) -> dict[str, Any]:
        """JSON-serialisable: the stream's cursor and references to the documents that wait."""
        pending = sorted(self._pool, key=lambda item: item.order)
        return {
            "stream": self.stream.state(),
            "pending": [[*_as_list(item.ref), item.start, item.order] for item in pending],
            "order": self._order,
            "tokens_taken": {str(source): count for source, count in self.tokens_taken.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        self.stream.load(state["stream"])
        self._pool = []
        self._order = state["order"]
        self.tokens_taken = Counter({int(source): count for source, count in state["tokens_taken"].items()})
        for source, epoch, group, row, start, order in state["pending"]:
            ref = Ref(source, epoch, group, row)
            self._add(self.stream.again(ref), ref, start, order)

    def next(self) -> Row:
        """The next row."""
        taken: list[TokenSequence] = []
        origins: list[Ref] = []
        room = self.length
        take: Callable[[int], Pending | None] = self._best if self.method == "best_fit" else self._first
        while room > 0:
            item = take(room)
            if item is None:
                break
            taken.append(_part(item.sequence, item.start, item.start + room))
            origins.append(item.ref)
            used = len(taken[-1])
            self.tokens_taken[item.ref.source] += used
            if used < item.length:
                self._add(item.sequence, item.ref, item.start + used, item.order)
            room -= used
        return make_row(taken, self.length, self.pad, origins)

    def _first(self, room: int) -> Pending:
        self._fill()
        return self._pool.pop(0)

    def _best(self, room: int) -> Pending | None:
        self._fill()
        if room == self.length:
            # the oldest opens the row, so that no document waits for ever
            oldest = min(self._pool, key=itemgetter(1))
            return self._pool.pop(bisect_left(self._pool, oldest))
        fits = bisect_left(self._pool, (room + 1,))
        return self._pool.pop(fits - 1) if fits else None

    def _fill(self) -> None:
        while len(self._pool) < self.pool_size:
            ref, sequence = self.stream.next()
            self._add(sequence, ref, 0, self._order)
            self._order += 1

    def _add(self, sequence: TokenSequence, ref: Ref, start: int, order: int) -> None:
        insort(self._pool, Pending(len(sequence) - start, order, ref, start, sequence))


def _as_list(ref: Ref) -> list[int]:
    return [ref.source, ref.epoch, ref.group, ref.row]


def _part(sequence: TokenSequence, start: int, end: int) -> TokenSequence:
    """Ids ``start:end``; the first id of a cut-off rest is predicted by none, as its context is in another row."""
    if start == 0 and end >= len(sequence):
        return sequence
    return TokenSequence(ids=sequence.ids[start:end], loss=sequence.loss[start:end])


def make_row(documents: list[TokenSequence], length: int, pad: int, origins: Sequence[Ref] = ()) -> Row:
    """Lay documents side by side; labels are shifted, and the last id of each document predicts nothing."""
    lengths = np.array([len(document) for document in documents], np.int64)
    used = int(lengths.sum())
    ids = np.full(length, pad, np.int64)
    labels = np.full(length, IGNORE, np.int64)
    positions = np.zeros(length, np.int64)
    segments = np.zeros(length, np.int64)
    if used:
        ids[:used] = np.concatenate([document.ids for document in documents])
        loss = np.concatenate([document.loss for document in documents])
        ends = np.cumsum(lengths)
        labels[: used - 1] = np.where(loss[1:], ids[1:used], IGNORE)
        labels[ends - 1] = IGNORE
        positions[:used] = np.arange(used) - np.repeat(ends - lengths, lengths)
        segments[:used] = np.repeat(np.arange(1, len(documents) + 1), lengths)
    return Row(ids=ids, labels=labels, positions=positions, segments=segments, origins=origins)
