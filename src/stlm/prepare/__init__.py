"""Corpora to shards."""

from stlm.prepare.encode import ShardReport, ShardTask, all_rejected, encode_batch
from stlm.prepare.local import LocalRunner
from stlm.prepare.plan import Prepared, prepare

__all__ = [
    "LocalRunner",
    "Prepared",
    "ShardReport",
    "ShardTask",
    "all_rejected",
    "encode_batch",
    "prepare",
]
