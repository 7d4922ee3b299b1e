"""Held-out losses during training, as a vector: each held-out set by vocabulary block (text, markers, each stream)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError
from stlm.feed.dataset import batch_documents
from stlm.feed.stream import DocumentRandom, FeedSource
from stlm.interfaces.batch import PackedBatch
from stlm.lightning.pretrain import LanguageModelModule
from stlm.types import TokenSequence


class Validation(pl.Callback):
    """Mean losses of held-out documents every few steps, and after the last.

    The first documents of each set that its policy accepts are interleaved once, by the run's seed, and dealt to the
    ranks; ``valid/SET/BLOCK`` is the mean over all their labels of that block, ``valid/SET`` over all.

    Args:
        sources: the held-out sets.
        codec: turns documents into ids.
        every: optimizer steps between two evaluations; 0: only after the last.
        num_documents: of each set, at most.
        rows: documents of a batch.
        length: ids of a document; what is longer is cut.
        seed: decides the interleaving.

    Raises:
        ConfigError: a number is too small.
    """

    def __init__(
        self,
        sources: Callable[[], Sequence[FeedSource]],
        codec: Codec,
        *,
        every: int,
        num_documents: int,
        rows: int,
        length: int,
        seed: int,
    ) -> None:
        if every < 0 or num_documents < 1:
            raise ConfigError(
                f"trainer: expected validate_every >= 0 and validation_documents >= 1, got {every} and {num_documents}"
            )
        self.sources = sources
        self.codec = codec
        self.every = every
        self.num_documents = num_documents
        self.rows = rows
        self.length = length
        self.seed = seed
        self._documents: dict[str, list[TokenSequence]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._documents = {source.name: self._read(source) for source in self.sources()}

    def _read(self, source: FeedSource) -> list[TokenSequence]:
        """Encoded documents, by length, so that batches waste little.

        Raises:
            DataError: the policy accepts none.
        """
        random, policy = DocumentRandom(self.seed), source.interleaver
        found: list[TokenSequence] = []
        for utterance in source.utterances():
            if policy.accepts(utterance):
                document = policy.interleave(utterance, random.of(0, utterance.id))
                found.append(_cut(self.codec.encode(document), self.length))
            if len(found) == self.num_documents:
                break
        if not found:
            raise DataError(
                f"validation.{source.name}: its policy accepts no utterance of {source.shards.directory}: it needs "
                "what these shards do not have (text, units or word times)"
            )
        return sorted(found, key=len)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        step = trainer.global_step
        is_due = bool(self.every) and step % self.every == 0
        if not pl_module.step_batches and (is_due or step == trainer.max_steps):
            self._evaluate(trainer, pl_module)

    @torch.no_grad()
    def _evaluate(self, trainer: pl.Trainer, module: LanguageModelModule) -> None:
        module.backbone.eval()
        found: dict[str, float] = {}
        for name, documents in self._documents.items():
            sums = torch.zeros(2, len(module.by_block.names), dtype=torch.float64, device=module.device)
            for batch in self._batches(documents, trainer):
                with trainer.strategy.precision_plugin.forward_context():
                    losses, labels = module.losses(batch.to(module.device))
                sums += module.by_block(losses, labels)
            if trainer.world_size > 1:
                torch.distributed.all_reduce(sums)
            total, count = sums.sum(1).tolist()
            found[f"valid/{name}"] = total / max(count, 1.0)
            found |= {f"valid/{name}/{block}": loss for block, loss in module.by_block.means(sums).items()}
        module.backbone.train()
        for logger in trainer.loggers:
            logger.log_metrics(found, trainer.global_step)
            logger.save()

    def _batches(self, documents: Sequence[TokenSequence], trainer: pl.Trainer) -> Iterator[PackedBatch]:
        """This rank's batches. Every rank has as many, as a sharded model needs all ranks for each of them: where
        documents run out, an empty one counts nothing."""
        world = trainer.world_size
        for start in range(0, len(documents), self.rows * world):
            mine = documents[start : start + self.rows * world][trainer.global_rank :: world]
            yield batch_documents(mine or [_cut(documents[0], 1)], self.codec.format.pad or 0)


def _cut(document: TokenSequence, length: int) -> TokenSequence:
    return TokenSequence(ids=document.ids[:length], loss=document.loss[:length])
