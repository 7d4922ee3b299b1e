"""Choosing the next id."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch

from stlm.errors import ConfigError

COLDEST = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationOptions:
    """How to generate.

    Args:
        max_new_tokens: at most so many ids per prompt.
        temperature: 0 for greedy; the paper samples at 0.8 (section 4.2).
        top_p: nucleus; the paper's 0.95.
        top_k: 0 for all.
        seed: row r draws from a generator of its own keyed by (seed, r), so a batch gives what singles give.
    """

    max_new_tokens: int = 200
    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        # a temperature that divides float32 logits to infinity is none
        is_cold = self.temperature == 0 or (self.temperature >= COLDEST and isfinite(self.temperature))
        if not is_cold or not 0 < self.top_p <= 1 or self.top_k < 0 or self.max_new_tokens < 0:
            raise ConfigError(
                f"generation needs temperature 0 or >= {COLDEST:g}, 0 < top_p <= 1, top_k >= 0, max_new_tokens >= 0, "
                f"got {self.temperature}, {self.top_p}, {self.top_k}, {self.max_new_tokens}"
            )


def row_generator(seed: int, row: int) -> torch.Generator:
    """The generator of one row."""
    generator = torch.Generator()
    generator.manual_seed((seed * 1_000_003 + row) % 2**63)
    return generator


def choose(logits: torch.Tensor, options: GenerationOptions, generator: torch.Generator) -> int:
    """One id from ``float[V]`` logits; forbidden ids are -inf."""
    if options.temperature == 0:
        return int(logits.argmax())
    scaled, ids = torch.sort(logits.float().cpu() / options.temperature, descending=True)
    if options.top_k:
        scaled, ids = scaled[: options.top_k], ids[: options.top_k]
    chances = torch.softmax(scaled, dim=0)
    # an id stays while the ids before it have less than top_p together; the first always stays
    chances = chances.masked_fill(torch.cumsum(chances, dim=0) - chances >= options.top_p, 0.0)
    return int(ids[torch.multinomial(chances, 1, generator=generator)])
