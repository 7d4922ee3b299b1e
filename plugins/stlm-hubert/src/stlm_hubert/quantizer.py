"""The linear quantizer of the official checkpoint: frames to V units or a CTC blank, and what becomes of blanks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from stlm.errors import FormatError
from stlm.learn.weights import entry, load_exactly

SLOPE = 0.01  # of the leaky ReLUs


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerSizes:
    """Sizes as ``model_cfg`` of the quantizer's file has them.

    Args:
        vocab_size: V, units without the blank.
        dim: D, channels in.
        upstream_dim: decides, with V, by how much each layer is narrower than the one before.
    """

    vocab_size: int
    dim: int
    upstream_dim: int

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """D, D - m // 4, D - m // 2, V + 1 with m = upstream_dim - (V + 1), rounded down, also below zero."""
        m = self.upstream_dim - (self.vocab_size + 1)
        return self.dim, self.dim - m // 4, self.dim - m // 2, self.vocab_size + 1

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], path: object) -> QuantizerSizes:
        """Sizes from a file.

        Raises:
            FormatError: one is missing, is no positive number, or they give a layer without channels.
        """
        sizes = cls(**{key: entry(values, key, int, str(path)) for key in ("vocab_size", "dim", "upstream_dim")})
        if min(sizes.vocab_size, sizes.dim, *sizes.widths) < 1 or sizes.vocab_size >= 1 << 16:
            raise FormatError(f"{path}: {sizes} give layers of {sizes.widths} channels, expected positive numbers")
        return sizes


def make_quantizer(sizes: QuantizerSizes, state: Mapping[str, torch.Tensor], path: object) -> nn.Sequential:
    """Three linear layers with leaky ReLUs between them, keys ``0, 2, 4``; always float32.

    Raises:
        FormatError: a tensor is missing, unknown or of another shape.
    """
    first, second, third, last = sizes.widths
    layers = nn.Sequential(
        nn.Linear(first, second),
        nn.LeakyReLU(SLOPE),
        nn.Linear(second, third),
        nn.LeakyReLU(SLOPE),
        nn.Linear(third, last),
    )
    load_exactly(layers, state, str(path))
    return layers.eval().requires_grad_(False)


def fill_blanks(codes: np.ndarray, blank: int) -> np.ndarray:
    """``int[T]`` with every blank replaced by the last unit before it; leading ones by the last unit of all.

    The wrap-around is the official behaviour (a circular shift), kept for equal units. All-blank stays blank.

    >>> fill_blanks(np.array([9, 1, 9, 9, 2, 9]), blank=9).tolist()
    [2, 1, 1, 1, 2, 2]
    """
    known = np.flatnonzero(codes != blank)
    if not len(known):
        return codes
    before = np.searchsorted(known, np.arange(len(codes)), side="right") - 1  # -1 is the last: around the end
    return codes[known[before]]
