"""How many steps a training takes: as many as fit into its time."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl

from stlm.lightning.pretrain import LanguageModelModule


class TimeBudget(pl.Callback):
    """Fits the number of steps, and with it the schedule, to a time budget.

    The pace so far decides how many steps fit; it is measured again every few steps, as other programs come and go, so
    the run ends in time and the learning rate comes to its end with it. A resumed run keeps the last number.

    Args:
        seconds: what the whole fit may take.
        every: steps between two measurements.
    """

    def __init__(self, seconds: float, every: int = 25) -> None:
        self.seconds = seconds
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
        done = trainer.global_step - self._first_step
        elapsed = time.perf_counter() - self._start
        if done == 0 or (done % self.every and elapsed < self.seconds):
            return
        left = max(0.0, self.seconds - elapsed)
        steps = min(self._limit, trainer.global_step + int(left / (elapsed / done)))
        self._apply(trainer, pl_module, steps)

    def _apply(self, trainer: pl.Trainer, module: pl.LightningModule, steps: int) -> None:
        assert isinstance(module, LanguageModelModule)
        self.total_steps = steps
        trainer.fit_loop.epoch_loop.max_steps = steps
        module.schedule = replace(module.schedule, total_steps=steps)

    def state_dict(self) -> dict[str, Any]:
        return {"total_steps": self.total_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total_steps = state_dict["total_steps"]
