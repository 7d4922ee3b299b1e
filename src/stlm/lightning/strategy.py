"""Choices that depend on the machine: precision, allocator, time budget."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import time
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch

from stlm.errors import ConfigError
from stlm.lightning.pretrain import LanguageModelModule

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true")


def resolve_precision(name: str) -> str:
    """Lightning's name of a precision; "auto" is bf16-mixed where the hardware multiplies bf16, else fp32.

    Raises:
        ConfigError: unknown precision.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if cpu_has_bf16() else "32-true"


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bf16 matrices in hardware (AVX512-BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("amx_tile"))


def keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks instead of returning them to the system.

    Training on a CPU frees and allocates the same large buffers at every step; each return costs page faults. Measured
    on two cores with rows of 512: 601 ms a step against 2,107 ms. Nothing happens where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 1 << 30)
        libc.mallopt(m_trim_threshold, (1 << 31) - 1)
    except (OSError, AttributeError):
        logger.debug("no glibc mallopt here; large buffers go back to the system after each step")


def return_freed_memory() -> None:
    """Give what training freed back to the system, after `keep_freed_memory` had kept it."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        logger.debug("no glibc malloc_trim here")


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
