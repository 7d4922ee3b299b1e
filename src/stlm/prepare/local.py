"""Tasks on the processes of one machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from stlm.interfaces.stage import Result, Runner, Task


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `LocalRunner`; 0 workers means one per core."""

    num_workers: int = 0


class LocalRunner(Runner):
    """A pool of fresh processes, or this process if there is one worker.

    Args:
        num_workers: processes; 0 for one per core.
    """

    def __init__(self, num_workers: int = 0) -> None:
        self.num_workers = num_workers or len(os.sched_getaffinity(0))

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        if self.num_workers == 1 or len(tasks) <= 1:
            yield from (work(task) for task in tasks)
            return
        # spawn: forked children would inherit torch's locked thread pools
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            min(self.num_workers, len(tasks)), mp_context=context, initializer=_one_thread
        ) as pool:
            futures = [pool.submit(work, task) for task in tasks]
            for future in as_completed(futures):
                yield future.result()


def _one_thread() -> None:
    """Workers share the cores among themselves, so each uses one."""
    import torch

    torch.set_num_threads(1)


def build(config: Config) -> LocalRunner:
    return LocalRunner(config.num_workers)
