"""Shards of utterances in Parquet. No torch."""

from stlm.store.manifest import ShardSet
from stlm.store.reader import Group, Shard
from stlm.store.writer import ShardWriter

__all__ = ["Group", "Shard", "ShardSet", "ShardWriter"]
