"""What a person sees while a model trains: throughput, time left, losses; and the same as curves for the report."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from stlm.interfaces.batch import PackedBatch
from stlm.lightning.pretrain import LanguageModelModule
from stlm.lightning.strategy import TimeBudget


class TokenProgress(pl.Callback):
    """A progress bar over steps with tokens per second, and a history of losses.

    Args:
        label: what the bar is called.
        enabled: show the bar; the history is kept either way.
    """

    def __init__(self, label: str = "train", enabled: bool = True) -> None:
        self.label = label
        self.enabled = enabled
        self.history: list[dict[str, float]] = []
        self._bar: tqdm[Any] | None = None
        self._start = 0.0
        self._tokens = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()
        self._tokens = 0
        total = self._total(trainer)
        disable = not self.enabled or not trainer.is_global_zero
        self._bar = tqdm(total=total, initial=trainer.global_step, desc=self.label, unit="step", disable=disable)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        assert self._bar is not None and isinstance(pl_module, LanguageModelModule)
        self._tokens += batch.num_tokens * trainer.world_size
        seconds = time.perf_counter() - self._start
        self._bar.total = self._total(trainer)
        self._bar.update(trainer.global_step - self._bar.n)
        metrics = {name: float(value) for name, value in trainer.logged_metrics.items() if name.startswith("train/")}
        rate = self._tokens / max(seconds, 1e-9)
        self._bar.set_postfix_str(f"loss {metrics.get('train/loss', float('nan')):.3f}, {rate:,.0f} tokens/s")
        pl_module.log("throughput/tokens_per_second", rate)
        if trainer.global_step % pl_module.report_every == 0:
            row = {name.removeprefix("train/"): value for name, value in metrics.items()}
            seen = float(pl_module.tokens_seen.sum())  # pyright: ignore[reportCallIssue]
            self.history.append({"step": trainer.global_step, "tokens": seen, "seconds": seconds, **row})

    @staticmethod
    def _total(trainer: pl.Trainer) -> int | None:
        """Steps of the run; not known while a time budget is still measuring the pace."""
        budget = next((item for item in trainer.callbacks if isinstance(item, TimeBudget)), None)  # pyright: ignore
        if trainer.max_steps < 0 or (budget is not None and budget.total_steps is None):
            return None
        return trainer.max_steps

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bar is not None:
            self._bar.close()
