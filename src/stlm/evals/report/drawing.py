"""What pictures are drawn with: axes, ticks, and an SVG as wide as its page.

Positions across are percentages, so that a picture is as wide as the page or phone while its text keeps its size;
colours are the page's CSS classes, so that one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale from `low` to `high` over the width or height of a picture."""

    low: float
    high: float
    log: bool = False

    def percent(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return 100 * (value - low) / (high - low or 1.0)

    def ticks(self, count: int = 4) -> list[float]:
        if not self.log:
            return ticks_between(self.low, self.high, count)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        return [n * 10.0**d for d in decades for n in (1, 2, 5) if self.low <= n * 10.0**d <= self.high]


def ticks_between(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers within the range."""
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def svg(kind: str, height: float, parts: Sequence[str], label: str, style: str = "") -> str:
    return (
        f'<svg class="{kind}" width="100%" height="{height}" style="{style}" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
