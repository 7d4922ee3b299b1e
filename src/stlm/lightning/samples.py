"""What a person reads and hears while a model trains: a document that it trains on, and how the model goes on from its
first half."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from stlm.errors import ConfigError, StlmError
from stlm.generate.sampling import GenerationOptions
from stlm.interfaces.batch import PackedBatch
from stlm.lightning.pretrain import LanguageModelModule
from stlm.system import SpeechTextLM
from stlm.types import Document, UnitSpan


class Samples(pl.Callback):
    """Text and audio in TensorBoard every few steps.

    The first documents of the run's first batch are cut in the middle; the model goes on from there, freely, and what
    units it writes are spoken by the system's vocoder if it has one. Every report is made with the same seed, so two of
    them differ by the model alone.

    Args:
        system: whose backbone is trained.
        every: optimizer steps between two reports.
        number: documents.
        new_ids: ids that the model writes for each.
    """

    def __init__(self, system: SpeechTextLM, *, every: int, number: int = 2, new_ids: int = 150) -> None:
        if every < 1:
            raise ConfigError(f"trainer: sample_every must be at least 1, got {every}")
        self.system = system
        self.every = every
        self.number = number
        self.new_ids = new_ids
        self._documents: list[np.ndarray] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        if not trainer.is_global_zero:
            return
        if not self._documents:
            self._documents = _documents(batch, self.number)
        if not pl_module.step_batches and trainer.global_step % self.every == 0:
            with trainer.strategy.precision_plugin.forward_context():
                self._report(trainer)
            pl_module.backbone.train()

    def _report(self, trainer: pl.Trainer) -> None:
        codec = self.system.codec
        halves = [ids[: max(1, len(ids) // 2)] for ids in self._documents]
        written = self.system.continue_ids(halves, to="any", options=GenerationOptions(max_new_tokens=self.new_ids))
        for number, (ids, half, new) in enumerate(zip(self._documents, halves, written, strict=True)):
            self._show(trainer, f"sample {number}/document", codec.decode(ids))
            self._show(trainer, f"sample {number}/first half", codec.decode(half))
            self._show(trainer, f"sample {number}/what the model writes", codec.decode(new, at_start=False))

    def _show(self, trainer: pl.Trainer, title: str, document: Document) -> None:
        shown = [f"`{self.system.codec.to_string(document)}`"]
        boards = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        spoken = tuple(span for span in document if isinstance(span, UnitSpan) and len(span))
        if spoken and self.system.vocoder is not None:
            try:
                heard = self.system.synthesize(spoken)
            except StlmError as error:  # a model that has just begun writes what nobody can speak
                shown.append(f"cannot be spoken: {error}")
            else:
                for board in boards:
                    board.add_audio(title, heard.samples[None], trainer.global_step, heard.sample_rate)
        for board in boards:
            board.add_text(title, "\n\n".join(shown), trainer.global_step)


def _documents(batch: PackedBatch, number: int) -> list[np.ndarray]:
    """Ids of the first documents of a batch."""
    rows = zip(batch.ids, batch.segments, strict=True)
    found = (ids[segments == index] for ids, segments in rows for index in range(1, int(segments.max()) + 1))
    return [ids.cpu().numpy() for ids, _ in zip(found, range(number), strict=False)]
