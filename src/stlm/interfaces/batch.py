"""Tensors that cross from the feed into a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """Documents packed into rows of one length.

    Args:
        ids: ``int64[B, S]``.
        labels: ``int64[B, S]``; ``labels[b, s]`` is the id that position s must predict (already shifted), -100 where
            nothing counts: padding, the last id of a document, ids without loss. None at inference.
        positions: ``int64[B, S]``, counted from 0 in every document and 0 throughout padding.
        segments: ``int64[B, S]``; documents of a row count from 1, padding is 0. Attention never crosses segments.
        cursor: where the data continue after this batch; JSON-serialisable, empty where there is nothing to resume.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor | None = None
    cursor: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedBatch:
        return replace(
            self,
            ids=self.ids.to(device, non_blocking=non_blocking),
            positions=self.positions.to(device, non_blocking=non_blocking),
            segments=self.segments.to(device, non_blocking=non_blocking),
            labels=None if self.labels is None else self.labels.to(device, non_blocking=non_blocking),
        )

    @property
    def num_tokens(self) -> int:
        """Ids that are not padding."""
        return int((self.segments > 0).sum())
