"""Matrix products whose rows do not depend on their company.

A BLAS may sum in another order when the number of rows changes, so that one frame of a long batch differs in its last
bit from the same frame alone, and a unit near the border of two clusters flips. Blocks of a fixed number of rows avoid
this.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

BLOCK = 256


def in_blocks(rows: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], size: int = BLOCK) -> torch.Tensor:
    """``cat(function(block))`` over blocks of `size` rows of ``[T, …]``; the last is filled up with zeros and cut."""
    T = len(rows)
    if T == 0:
        return function(rows.new_zeros(size, *rows.shape[1:]))[:0]
    filled = torch.cat([rows, rows.new_zeros(-T % size, *rows.shape[1:])])
    return torch.cat([function(block) for block in filled.split(size)])[:T]
