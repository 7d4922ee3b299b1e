"""Tensors that cross from the feed into a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        bounds: ``int32[N + 1]``: where documents and stretches of padding begin among the B x S ids, row after row, and
            at last B x S. Made from the segments where it is not given.
        origins: where each document came from, row after row: (source, epoch, group, row); empty where nobody knows.
        cursor: where the data continue after this batch; JSON-serialisable, empty where there is nothing to resume.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor | None = None
    bounds: torch.Tensor | None = None
    origins: Sequence[tuple[int, int, int, int]] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedBatch:
        return replace(
            self,
            ids=self.ids.to(device, non_blocking=non_blocking),
            positions=self.positions.to(device, non_blocking=non_blocking),
            segments=self.segments.to(device, non_blocking=non_blocking),
            labels=None if self.labels is None else self.labels.to(device, non_blocking=non_blocking),
            bounds=None if self.bounds is None else self.bounds.to(device, non_blocking=non_blocking),
        )

    def document_bounds(self) -> torch.Tensor:
        """``bounds``, from the segments if need be (which waits for the device they are on)."""
        return self.bounds if self.bounds is not None else bounds_of(self.segments)

    @property
    def num_tokens(self) -> int:
        """Ids that are not padding."""
        return int((self.segments > 0).sum())


def bounds_of(segments: torch.Tensor) -> torch.Tensor:
    """Where the runs of equal ``segments: int64[B, S]`` begin, row after row, and the end: ``int32[N + 1]``."""
    import torch

    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    starts = begins.flatten().nonzero().flatten()
    return torch.cat([starts, starts.new_tensor([segments.numel()])]).int()
