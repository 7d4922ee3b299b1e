"""Corpora to shards."""

from stlm.prepare.encode import Choice, ShardReport, ShardTask, all_rejected, encode_batch
from stlm.prepare.local import LocalRunner
from stlm.prepare.plan import Prepared, prepare

__all__ = [
    "Choice",
    "LocalRunner",
    "Prepared",
    "ShardReport",
    "ShardTask",
    "all_rejected",
    "encode_batch",
    "prepare",
]
