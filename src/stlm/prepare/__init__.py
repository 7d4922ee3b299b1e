"""Corpora to shards."""

from stlm.prepare.encode import ShardReport, ShardTask, all_rejected, count_rejected
from stlm.prepare.local import LocalRunner
from stlm.prepare.pipeline import Limits, encode_utterances
from stlm.prepare.plan import QUARANTINE, Prepared, prepare

__all__ = [
    "QUARANTINE",
    "Limits",
    "LocalRunner",
    "Prepared",
    "ShardReport",
    "ShardTask",
    "all_rejected",
    "count_rejected",
    "encode_utterances",
    "prepare",
]
