"""Which of Lightning's strategies a run uses, and how many steps it takes: as many as fit into its budget."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from stlm.errors import ConfigError
from stlm.lightning.pretrain import LanguageModelModule

FSDP2 = "fsdp2"


class FullyShardedStrategy(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 with all ranks in its data-parallel part.

    Left to itself it takes the ranks of a node for tensor-parallel ones, which share a batch, and reduces no gradient
    between them.
    """

    def setup_environment(self) -> None:
        self._data_parallel_size: int = self.num_nodes * self.num_processes
        self._tensor_parallel_size: int = 1
        super().setup_environment()


def make_strategy(name: str, *, sharded_checkpoints: bool, is_staged: bool) -> Strategy | str:
    """A strategy by its name in the configuration.

    Args:
        name: "fsdp2" (weights, gradients and optimizer states in parts over the ranks), "ddp" (whole on each), or
            another of Lightning's names.
        sharded_checkpoints: with fsdp2 each rank writes its part of a checkpoint, a directory; else it is one file.
        is_staged: which parameters are trained changes over the run.
    """
    if name == FSDP2:
        return FullyShardedStrategy(save_distributed_checkpoint=sharded_checkpoints)
    if name == "ddp":
        return DDPStrategy(find_unused_parameters=is_staged, gradient_as_bucket_view=True)
    return name


def batches_per_step(batch_rows: int, rows: int, ranks: int, accumulate: int) -> int:
    """Batches that each rank accumulates in an optimizer step.

    Args:
        batch_rows: rows of a step over all ranks; 0: as `accumulate` says.
        rows: rows of a batch.
        ranks: processes that train.
        accumulate: batches of each rank, where `batch_rows` is 0.

    Raises:
        ConfigError: the rows cannot be dealt evenly.
    """
    if not batch_rows:
        return accumulate
    if batch_rows % (rows * ranks):
        raise ConfigError(
            f"trainer.batch_rows is {batch_rows}, not a multiple of feed.rows {rows} x {ranks} ranks = {rows * ranks}: "
            "choose other feed.rows, or another number of ranks"
        )
    return batch_rows // (rows * ranks)


class WholeSteps(pl.Callback):
    """A run that goes on with another number of ranks begins with a whole optimizer step.

    Lightning takes a step when the number of batches since the run began divides by those of a step; a checkpoint holds
    that number as the old ranks counted.
    """

    def __init__(self) -> None:
        self._is_set = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self._is_set:
            return
        self._is_set = True
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        before = trainer.global_step * trainer.accumulate_grad_batches
        progress.started = progress.processed = progress.completed = before
        progress.ready = before + 1


class Budget(pl.Callback):
    """Fits the number of steps, and with it the schedule, to a budget of time, of tokens, or of both.

    The pace so far decides how many steps fit; it is measured again every few steps, as other programs come and go, so
    the run ends in time and the learning rate comes to its end with it. A resumed run keeps the last number, unless its
    budget is another one now.

    Args:
        seconds: what the whole fit may take; None: any time.
        tokens: the run stops with the step that reaches so many, padding not counted; None: none does.
        every: steps between two measurements.
    """

    def __init__(self, seconds: float | None = None, tokens: int | None = None, every: int = 25) -> None:
        self.seconds = sys.maxsize if seconds is None else seconds
        self.tokens = sys.maxsize if tokens is None else tokens
        self.every = every
        self.total_steps: int | None = None
        self._limit = sys.maxsize
        self._start = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()
        self._first_step = trainer.global_step
        self._limit = trainer.max_steps if trainer.max_steps > 0 else sys.maxsize
        if self.total_steps is not None:
            self._apply(trainer, pl_module, self.total_steps)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        if pl_module.step_batches:
            return  # in the middle of a step
        done = trainer.global_step - self._first_step
        tokens = int(pl_module.tokens_seen.sum())  # pyright: ignore[reportCallIssue]
        # one clock for all ranks: they must stop at the same step
        elapsed = trainer.strategy.broadcast(time.perf_counter() - self._start)
        is_over = elapsed >= self.seconds or tokens >= self.tokens or trainer.global_step == self.total_steps
        if done % self.every and not is_over:
            return
        in_time = max(0.0, self.seconds - elapsed) // (elapsed / done)
        in_tokens = math.ceil(max(0, self.tokens - tokens) / (tokens / trainer.global_step))
        steps = trainer.global_step + int(min(in_time, in_tokens))
        self._apply(trainer, pl_module, min(self._limit, steps))

    def _apply(self, trainer: pl.Trainer, module: pl.LightningModule, steps: int) -> None:
        assert isinstance(module, LanguageModelModule)
        self.total_steps = steps
        trainer.fit_loop.epoch_loop.max_steps = steps
        module.schedule = replace(module.schedule, total_steps=steps)

    def state_dict(self) -> dict[str, Any]:
        return {"total_steps": self.total_steps, "budget": [self.seconds, self.tokens]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["budget"] == [self.seconds, self.tokens]:
            self.total_steps = state_dict["total_steps"]
