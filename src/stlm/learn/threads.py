"""One thread for work in many small steps.

A step of 256 rows is over before a second thread has woken up, and where the cores are busy (two workers, a training
run beside) waiting for it costs far more than the step: an hour of sound took 70 s with two threads and 2 s with one.
Work of this kind scales by processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's CPU operations in one thread; also a decorator: ``@one_thread()``."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
