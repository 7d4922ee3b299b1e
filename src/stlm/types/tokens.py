"""A flat sequence of ids with the places where the loss counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """Ids of one document.

    Args:
        ids: ``int32[S]``.
        loss: ``bool[S]``; True where predicting this id counts.
    """

    ids: np.ndarray
    loss: np.ndarray

    def __post_init__(self) -> None:
        if self.ids.shape != self.loss.shape or self.ids.ndim != 1:
            raise FormatError(f"ids and loss must be [S], got {list(self.ids.shape)} and {list(self.loss.shape)}")

    def __len__(self) -> int:
        return len(self.ids)
