"""Checkpoints of a run: the last one, written over, and those that stay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from stlm.lightning.pretrain import LanguageModelModule

LAST, BEFORE = "last.ckpt", ".before.ckpt"


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` every few optimizer steps and after the run's last, and ``step-N.ckpt`` where one stays.

    Lightning's own callback leaves out a last step that is not due, and two of them at one pace shut each other out.

    Args:
        directory: where they go.
        every: steps between two of ``last.ckpt``.
        keep_every: steps between those that stay; 0: none does.
    """

    def __init__(self, directory: Path, *, every: int, keep_every: int) -> None:
        self.directory = directory
        self.every = every
        self.keep_every = keep_every

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        if pl_module.step_batches:
            return  # in the middle of a step
        step = trainer.global_step
        if self.keep_every and step % self.keep_every == 0:
            _save(trainer, self.directory / f"step-{step}.ckpt")
        if step % self.every == 0 or step == trainer.max_steps:
            _save(trainer, self.directory / LAST)


def _save(trainer: pl.Trainer, path: Path) -> None:
    """Write a checkpoint beside `path` and put it in its place whole; all ranks must call it.

    A checkpoint in pieces is a directory, which cannot take another's name at one stroke: between the two strokes the
    one before it lies under `BEFORE`.
    """
    partial, before = path.with_name(f".{path.name}.partial"), path.with_name(BEFORE)
    if trainer.is_global_zero and partial.is_dir():
        shutil.rmtree(partial)  # of a run that was killed
    trainer.strategy.barrier()
    trainer.save_checkpoint(partial)
    if trainer.is_global_zero:
        if path.is_dir():
            shutil.rmtree(before, ignore_errors=True)
            path.rename(before)
        partial.replace(path)
        shutil.rmtree(before, ignore_errors=True)
    trainer.strategy.barrier()


def last_checkpoint(directory: Path) -> Path:
    """The last checkpoint of a run directory, which may not be there."""
    last, before = (directory / "checkpoints" / name for name in (LAST, BEFORE))
    return before if before.exists() and not last.exists() else last
