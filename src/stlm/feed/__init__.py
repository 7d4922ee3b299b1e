"""Shards to batches: mixture, interleaving, encoding, packing, exact resume."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stlm.feed.dataset import FeedOptions, PackedDataset, batch_documents, collate
    from stlm.feed.packing import Packer, make_row
    from stlm.feed.stream import FeedSource, LogicalStream

_HOMES = {
    "FeedOptions": "dataset",
    "FeedSource": "stream",
    "LogicalStream": "stream",
    "PackedDataset": "dataset",
    "Packer": "packing",
    "batch_documents": "dataset",
    "collate": "dataset",
    "make_row": "packing",
}

__all__ = [
    "FeedOptions",
    "FeedSource",
    "LogicalStream",
    "PackedDataset",
    "Packer",
    "batch_documents",
    "collate",
    "make_row",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stlm.feed' has no attribute {name!r}")
    return getattr(import_module(f"stlm.feed.{_HOMES[name]}"), name)
