"""The loop that recipes share: a Lightning module and a way to draw a batch in, curves, samples and checkpoints out.

A batch is a function of the seed and its step alone, so an interrupted training goes on exactly where it was: nothing
about the data has to be kept. What a module's ``training_step`` returns, a mapping of scalar losses with ``loss`` among
them, becomes the progress bar, the curves in TensorBoard and ``logs/``, and the check for losses that are no numbers.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from stlm.errors import ConfigError, DataError
from stlm.learn.machine import keep_freed_memory, resolve_precision, return_freed_memory
from stlm.types import Audio

Draw = Callable[[np.random.Generator], Any]
"""Draws one batch; whatever is random in it comes from the generator."""
CHECKPOINT = Path("checkpoints", "last.ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """Options that the configs of all trained recipes share.

    Args:
        max_steps: batches; the learning rate comes to its end with the last.
        max_minutes: stop after this time even if there are steps left, the learning rate in step with it; 0: no limit.
        learning_rate: at its highest.
        warmup_steps: over which it rises from 0; then it falls on a cosine.
        final_ratio: of the highest, what it ends at.
        clip: largest gradient norm; 0 clips nothing.
        precision: "auto" (bf16-mixed where the hardware multiplies bf16), "32-true", "bf16-mixed", "16-mixed".
        accelerator: "auto", "cpu" or "gpu".
        num_workers: processes that draw batches; 0 draws them in the training process.
        checkpoint_every: steps between checkpoints to go on from.
        report_every: steps between two points of the curves.
        sample_every: steps between audio samples in TensorBoard; 0: only at the end.
        seed: decides the start and every batch.
    """

    max_steps: int = 1000
    max_minutes: float = 0.0
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    final_ratio: float = 0.05
    clip: float = 1.0
    precision: str = "auto"
    accelerator: str = "auto"
    num_workers: int = 0
    checkpoint_every: int = 500
    report_every: int = 10
    sample_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_steps", "checkpoint_every", "report_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("max_minutes", "warmup_steps", "final_ratio", "clip", "num_workers", "sample_every"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be above 0, got {self.learning_rate}")

    def factor(self, step: int, progress: float) -> float:
        """Of the highest learning rate, at a step and a share of the training in [0, 1]."""
        rising = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return rising * (self.final_ratio + (1 - self.final_ratio) * falling)


def train_module(
    module: pl.LightningModule,
    draw: Draw,
    directory: Path,
    options: TrainingOptions,
    *,
    label: str,
    seconds_per_batch: float = 0.0,
    samples: Callable[[], Mapping[str, Audio]] | None = None,
) -> list[dict[str, float]]:
    """Train a module, going on from ``checkpoints/last.ckpt`` of the directory if there is one.

    The module makes its optimizers with the highest learning rate and leaves the schedule to this loop. With manual
    optimisation (several optimizers) it clips gradients itself.

    Args:
        module: its ``training_step`` returns a mapping of scalars, ``loss`` among them.
        draw: makes a batch.
        directory: gets ``tensorboard/``, ``logs/`` and ``checkpoints/``.
        options: of the training.
        label: what the bar is called.
        seconds_per_batch: of audio, for the throughput on the bar.
        samples: audio to listen to, by name, from the module as it is.

    Returns:
        The curves: one row of losses every `report_every` steps, with ``step`` and ``seconds``.

    Raises:
        DataError: a loss is not a number, or the checkpoint is damaged.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    keep_freed_memory()
    resume_from = directory / CHECKPOINT
    course = Course(options, label, seconds_per_batch, samples)
    trainer = pl.Trainer(
        default_root_dir=directory,
        max_epochs=1,
        precision=resolve_precision(options.precision),  # pyright: ignore[reportArgumentType]
        accelerator=options.accelerator,
        devices=1,
        gradient_clip_val=options.clip if module.automatic_optimization and options.clip else None,
        callbacks=[course, _checkpoints(directory, options)],
        logger=[
            CSVLogger(directory / "logs", name="", version=_next_part(directory / "logs")),
            TensorBoardLogger(directory, name="tensorboard", version=""),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    data = _Data(draw, options, course)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        module.train()
        try:
            found = resume_from.exists()
            trainer.fit(module, data, ckpt_path=resume_from if found else None, weights_only=found)
        except (KeyError, EOFError, RuntimeError, UnpicklingError) as error:
            if course.steps or not resume_from.exists():
                raise
            raise DataError(
                f"{resume_from}: cannot go on from it ({str(error).splitlines()[0]}): train anew"
            ) from error
        finally:
            course.close()
    module.eval()
    history = course.history
    del trainer
    return_freed_memory()
    return history


def progress_of(module: pl.LightningModule) -> float:
    """Share of the training that is over, in [0, 1], for a module whose losses change on the way."""
    course = next(callback for callback in module.trainer.callbacks if isinstance(callback, Course))  # pyright: ignore[reportAttributeAccessIssue]
    return course.progress


def _next_part(directory: Path) -> str:
    """A fresh folder name, so that a resumed training keeps the curves of what went before."""
    return f"part-{len(list(directory.glob('part-*'))):02d}"


def _checkpoints(directory: Path, options: TrainingOptions) -> ModelCheckpoint:
    return ModelCheckpoint(
        directory / CHECKPOINT.parent,
        save_last=True,
        every_n_train_steps=options.checkpoint_every,
        save_top_k=0,
        enable_version_counter=False,
    )


class Course(pl.Callback):
    """Counts steps and time, sets the learning rate, ends the training, and reports."""

    def __init__(
        self,
        options: TrainingOptions,
        label: str,
        seconds_per_batch: float,
        samples: Callable[[], Mapping[str, Audio]] | None,
    ) -> None:
        self.options, self.label, self.samples = options, label, samples
        self.seconds_per_batch = seconds_per_batch
        self.steps = 0
        self.history: list[dict[str, float]] = []
        self._before = 0.0  # seconds of the run that this one goes on with
        self._first = 0
        self._start = time.perf_counter()
        self._bar: tqdm[Any] | None = None

    @property
    def seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    @property
    def progress(self) -> float:
        of_time = self.seconds / (60 * self.options.max_minutes) if self.options.max_minutes else 0.0
        return max(self.steps / self.options.max_steps, of_time)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start, self._first = time.perf_counter(), self.steps
        self._bar = tqdm(total=self.options.max_steps, initial=self.steps, desc=self.label, unit="step")
        trainer.should_stop = self.progress >= 1

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        factor = self.options.factor(self.steps, self.progress)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps += 1
        is_over = self.progress >= 1
        if self.steps % self.options.report_every == 0 or is_over or self.steps == 1:
            self._report(trainer, {name: float(value) for name, value in outputs.items()})
        if self.samples and (is_over or (self.options.sample_every and self.steps % self.options.sample_every == 0)):
            self._listen(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or is_over
        assert self._bar is not None
        if self.options.max_minutes and not is_over:
            elapsed = time.perf_counter() - self._start
            pace = elapsed / (self.steps - self._first)
            left = 60 * self.options.max_minutes - self.seconds
            self._bar.total = min(self.options.max_steps, self.steps + int(left / pace))
        elif is_over:
            self._bar.total = self.steps
        self._bar.update()

    def _report(self, trainer: pl.Trainer, losses: dict[str, float]) -> None:
        bad = next((name for name, value in losses.items() if not math.isfinite(value)), None)
        if bad is not None:
            raise DataError(
                f"{self.label}: {bad} is {losses[bad]} at step {self.steps}, expected a number: lower learning_rate "
                f"({self.options.learning_rate:g}), or look for broken recordings"
            )
        done = self.steps - self._first
        pace = done / max(time.perf_counter() - self._start, 1e-9)
        self.history.append({"step": self.steps, "seconds": self.seconds, **losses})
        for logger in trainer.loggers:
            logger.log_metrics(losses, self.steps)
        heard = f", {self.seconds_per_batch * pace:,.1f} s of audio/s" if self.seconds_per_batch else ""
        assert self._bar is not None
        self._bar.set_postfix_str(f"loss {losses['loss']:.3f}{heard}", refresh=False)

    def _listen(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        module.eval()
        with torch.no_grad():
            heard = self.samples() if self.samples else {}
        module.train()
        board = next(logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger))
        for name, audio in heard.items():
            board.experiment.add_audio(name, audio.samples[None], self.steps, audio.sample_rate)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "seconds": self.seconds, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self._before = state_dict["steps"], state_dict["seconds"]
        self.history = list(state_dict["history"])


class _Data(pl.LightningDataModule):
    """Batches from the step on at which the course stands."""

    def __init__(self, draw: Draw, options: TrainingOptions, course: Course) -> None:
        super().__init__()
        self.draw, self.options, self.course = draw, options, course

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            _Steps(self.draw, self.options.seed, self.course.steps),
            batch_size=None,
            num_workers=self.options.num_workers,
            persistent_workers=self.options.num_workers > 0,
            multiprocessing_context="fork" if self.options.num_workers else None,
        )


class _Steps(IterableDataset[Any]):
    """An endless stream of batches, the n-th drawn by a generator of its own."""

    def __init__(self, draw: Draw, seed: int, first: int) -> None:
        self.draw, self.seed, self.first = draw, seed, first

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        step, stride = self.first + (worker.id if worker else 0), worker.num_workers if worker else 1
        while True:
            yield self.draw(np.random.default_rng([self.seed, step]))
            step += stride
