"""The data module: packed batches in, cursor out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from stlm.codec import Codec
from stlm.errors import FormatError
from stlm.feed.dataset import FeedOptions, PackedDataset
from stlm.feed.stream import FeedSource, difference
from stlm.interfaces.batch import PackedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAccount:
    """A line of the table of training data (Spirit LM, table 2).

    Args:
        name: of the source.
        utterances: of its shards.
        weight: its asked share of the tokens.
        tokens: trained on.
        share: of all tokens.
        epochs: how often it was read.
    """

    name: str
    utterances: int
    weight: float
    tokens: int
    share: float
    epochs: float


class FeedDataModule(pl.LightningDataModule):
    """Training batches with exact resume.

    The cursor of every batch that was trained on is kept; a checkpoint holds the latest one per logical stream. A
    loader's own state would be too late, as it reads ahead.

    Args:
        sources: builds the mixture in the process that reads it.
        codec: builds the codec there.
        options: batch geometry and seed.
        num_workers: loader processes; 0 reads in the training process.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[FeedSource]],
        codec: Callable[[], Codec],
        options: FeedOptions,
        *,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        options.check_lanes(1, num_workers)
        self.sources = sources
        self.codec = codec
        self.options = options
        self.num_workers = num_workers
        self.cursor: dict[str, Any] = {}
        self._mixture: dict[str, Any] = {}

    def consumed(self, batch: PackedBatch) -> None:
        """Called after each training step with its batch."""
        self.cursor.update(batch.cursor)

    def names_of(self, origins: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
        """Source and utterance id of documents, by their origins as batches carry them."""
        sources = self.sources()
        return [(sources[source].name, sources[source].id_of(group, row)) for source, _, group, row in origins]

    def train_dataloader(self) -> DataLoader[PackedBatch]:
        trainer = self.trainer
        self.options.check_lanes(trainer.world_size if trainer else 1, self.num_workers)
        dataset = PackedDataset(
            self.sources,
            self.codec,
            self.options,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            cursor=self.cursor,
        )
        return DataLoader(
            dataset,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            multiprocessing_context="spawn" if self.num_workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def account(self) -> list[CorpusAccount]:
        """What each source gave to the batches trained on so far; all ranks must ask."""
        sources, cursors = self.sources(), self._all_cursors()
        weights = sum(source.weight for source in sources)
        tokens = [
            sum(state["tokens_taken"].get(str(index), 0) for state in cursors.values()) for index in range(len(sources))
        ]
        return [
            CorpusAccount(
                name=source.name,
                utterances=source.shards.num_utterances,
                weight=source.weight / weights,
                tokens=tokens[index],
                share=tokens[index] / max(1, sum(tokens)),
                epochs=self._epochs(source, index, cursors.values()),
            )
            for index, source in enumerate(sources)
        ]

    def _epochs(self, source: FeedSource, index: int, states: Iterable[Mapping[str, Any]]) -> float:
        """How often the corpus was read, to the row-group; documents that wait in a packer count as read."""
        groups = source.shards.num_groups / self.options.num_streams
        read = [state["stream"]["cursors"][index] for state in states]
        return sum(epoch + position / groups for epoch, position, _ in read) / self.options.num_streams

    def _all_cursors(self) -> dict[str, dict[str, Any]]:
        """The cursors of all logical streams, of whichever rank."""
        cursors: list[dict[str, Any]] = [self.cursor]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            cursors = [{}] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(cursors, self.cursor)
        # a resumed rank also holds the old cursors of streams that are now another's: the one that went on counts
        merged: dict[str, dict[str, Any]] = {}
        for stream, state in (item for cursor in cursors for item in cursor.items()):
            if stream not in merged or state["batches"] > merged[stream]["batches"]:
                merged[stream] = state
        return merged

    def state_dict(self) -> dict[str, Any]:
        return {"cursor": self._all_cursors(), "options": asdict(self.options), "mixture": self._describe()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        found = difference(state["options"], asdict(self.options), "feed") or next(
            filter(
                None, (difference(state["mixture"][part], now, "mixture") for part, now in self._describe().items())
            ),
            "",
        )
        if found:
            raise FormatError(
                f"{found}: an exact resume needs the same mixture, shards, row length, seed, streams and packing"
            )
        self.cursor = dict(state["cursor"])

    def _describe(self) -> dict[str, Any]:
        """What the batches are made of, as plain values."""
        if not self._mixture:
            sources = self.sources()
            self._mixture = {
                "names": [source.name for source in sources],
                "sources": {source.name: source.describe() for source in sources},
            }
        return self._mixture
