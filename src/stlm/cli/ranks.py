"""Several processes of one training, started by torchrun, SLURM or Lightning: which is the first, and who says what."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

WAIT = 5.0
"""Seconds in which a launcher ends the other processes once the first has failed."""


def is_first() -> bool:
    """Whether this process is the first of its training, or the only one."""
    if "RANK" in os.environ:  # torchrun's, of all nodes
        return os.environ["RANK"] == "0"
    return all(os.environ.get(name, "0") == "0" for name in ("SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"))


def is_said(line: str) -> bool:
    """Whether another process of the training says this line.

    Processes mostly fail alike, and then one line is enough. What one of them alone has met is said all the same: it
    ends the training, and nobody else knows why.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return _is_counted(distributed.distributed_c10d._get_default_store(), line)
    if not is_first():
        time.sleep(WAIT)
    return False


def _is_counted(store: Any, line: str) -> bool:
    try:
        return store.add(f"stlm: {line}", 1) > 1
    except RuntimeError:  # the first process keeps the store: it has ended before
        return not is_first()
