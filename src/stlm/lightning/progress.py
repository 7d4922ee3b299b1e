"""What a person sees while a model trains: throughput, time left, losses; and the same as curves for the report."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from tqdm import tqdm

from stlm.interfaces.batch import PackedBatch
from stlm.lightning.pretrain import LanguageModelModule
from stlm.lightning.strategy import Budget
from stlm.lightning.throughput import StepCost, attention_pairs, peak_of


class TokenProgress(pl.Callback):
    """A progress bar over steps with tokens per second, and a history of losses.

    Args:
        label: what the bar is called.
        enabled: show the bar; the history is kept either way.
        cost: of a step, for operations a second and their share of the device's peak.
    """

    def __init__(self, label: str = "train", enabled: bool = True, cost: StepCost | None = None) -> None:
        self.label = label
        self.enabled = enabled
        self.cost = cost
        self.history: list[dict[str, float]] = []
        self._bar: tqdm[Any] | None = None
        self._start = 0.0
        self._before = 0
        self._pairs = torch.zeros((), dtype=torch.int64)
        self._waited = 0.0
        self._ready = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        self._start = self._ready = time.perf_counter()
        self._before = sum(pl_module.tokens_by_block().values())
        self._pairs = torch.zeros((), dtype=torch.int64, device=pl_module.device)
        disable = not self.enabled or not trainer.is_global_zero
        total = self._total(trainer)
        self._bar = tqdm(total=total, initial=trainer.global_step, desc=self.label, unit="step", disable=disable)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        self._waited += time.perf_counter() - self._ready

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: PackedBatch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, LanguageModelModule)
        self._pairs += attention_pairs(batch)
        if not pl_module.step_batches:  # the last batch of a step
            self._on_step(trainer, pl_module)
        self._ready = time.perf_counter()

    def _on_step(self, trainer: pl.Trainer, module: LanguageModelModule) -> None:
        assert self._bar is not None
        seen = sum(module.tokens_by_block().values())
        tokens, seconds = seen - self._before, time.perf_counter() - self._start
        rate = tokens / max(seconds, 1e-9)
        metrics = {name: float(value) for name, value in trainer.logged_metrics.items() if name.startswith("train/")}
        self._bar.total = self._total(trainer)
        self._bar.update(trainer.global_step - self._bar.n)
        self._bar.set_postfix_str(f"loss {metrics.get('train/loss', float('nan')):.3f}, {rate:,.0f} tokens/s")
        if trainer.global_step % module.report_every == 0:
            waited = self._waited / max(seconds, 1e-9)
            speed = {"tokens_per_second": rate, "waited_for_data": waited, **self._hardware(trainer, module, seconds)}
            module.log_dict({f"throughput/{name}": value for name, value in speed.items()})
            row = {name.removeprefix("train/"): value for name, value in metrics.items()}
            self.history.append({"step": trainer.global_step, "tokens": float(seen), "seconds": seconds, **row})

    def _hardware(self, trainer: pl.Trainer, module: LanguageModelModule, seconds: float) -> dict[str, float]:
        """Operations a second of a device, and their share of its peak where that is known."""
        if self.cost is None:
            return {}
        tokens = (sum(module.tokens_by_block().values()) - self._before) / trainer.world_size
        speed = self.cost.of(int(tokens), int(self._pairs)) / max(seconds, 1e-9)
        peak = peak_of(module.device)
        return {"tflops": speed / 1e12, **({"mfu": speed / peak} if peak else {})}

    @staticmethod
    def _total(trainer: pl.Trainer) -> int | None:
        """Steps of the run; not known while a budget is still measuring the pace."""
        budget = next((item for item in trainer.callbacks if isinstance(item, Budget)), None)  # pyright: ignore
        if trainer.max_steps < 0 or (budget is not None and budget.total_steps is None):
            return None
        return trainer.max_steps

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._bar is not None:
            self._bar.close()
