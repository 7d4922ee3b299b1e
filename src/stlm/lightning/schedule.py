"""The learning rate over a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from stlm.errors import ConfigError

SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "linear": lambda progress: 1 - progress,
    "constant": lambda progress: 1.0,
}
"""From 1 to 0 (but for the constant) while the progress after the warm-up goes from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rate over the run: linear warm-up, then a cosine or a line to ``final_ratio`` of the peak, or the peak.

    Args:
        shape: "cosine", "linear" or "constant".
        warmup_steps: optimizer steps of warm-up.
        total_steps: steps after which the rate stays at its end value.
        final_ratio: last rate over peak rate; a constant rate has none.
    """

    shape: str = "cosine"
    warmup_steps: int = 100
    total_steps: int = 1000
    final_ratio: float = 0.1

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ConfigError(f"schedule: shape must be one of {', '.join(SHAPES)}, got {self.shape!r}")
        if self.warmup_steps < 0 or not 0 <= self.final_ratio <= 1:
            raise ConfigError(
                f"schedule: expected warmup_steps >= 0 and 0 <= final_ratio <= 1, got {self.warmup_steps} and "
                f"{self.final_ratio}"
            )

    def factor(self, step: int) -> float:
        """Multiplier of the peak rate at an optimizer step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        span = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / span)
        return self.final_ratio + (1 - self.final_ratio) * SHAPES[self.shape](progress)
