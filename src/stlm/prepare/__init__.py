"""Corpora to shards."""

from stlm.prepare.encode import ShardReport, ShardTask, all_rejected, count_rejected, encode_batch
from stlm.prepare.local import LocalRunner
from stlm.prepare.plan import QUARANTINE, Prepared, prepare

__all__ = [
    "QUARANTINE",
    "LocalRunner",
    "Prepared",
    "ShardReport",
    "ShardTask",
    "all_rejected",
    "count_rejected",
    "encode_batch",
    "prepare",
]
