"""Tasks on the processes of one machine, with a GPU each where there are several."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

from stlm.errors import ConfigError, StlmError
from stlm.interfaces.stage import Result, Runner, Task


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `LocalRunner`.

    Args:
        num_workers: processes; 0 for one per core, or one per GPU where `gpus` names some.
        gpus: numbers, as of nvidia-smi, of the GPUs that the workers share, each seeing one; empty: all see all.
    """

    num_workers: int = 0
    gpus: tuple[int, ...] = ()


class LocalRunner(Runner):
    """A pool of fresh processes, or this process if there is one worker and no GPU to choose.

    Args:
        num_workers, gpus: as in `Config`.

    Raises:
        ConfigError: fewer than no workers.
    """

    def __init__(self, num_workers: int = 0, gpus: Sequence[int] = ()) -> None:
        if num_workers < 0:
            raise ConfigError(f"num_workers must be 0 (one per core or GPU) or more, got {num_workers}")
        self.gpus = tuple(gpus)
        self.num_workers = num_workers or len(self.gpus) or len(os.sched_getaffinity(0))

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        if not self.gpus and (self.num_workers == 1 or len(tasks) <= 1):
            yield from (work(task) for task in tasks)
            return
        # spawn: forked children would inherit torch's locked thread pools
        context = multiprocessing.get_context("spawn")
        turns: SimpleQueue[int | None] = context.SimpleQueue()
        for place in range(self.num_workers):
            turns.put(self.gpus[place % len(self.gpus)] if self.gpus else None)
        with ProcessPoolExecutor(
            min(self.num_workers, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(turns,)
        ) as pool:
            futures = [pool.submit(work, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except BrokenProcessPool as error:
                raise StlmError(
                    "a worker was killed, perhaps for want of memory: run the same command again, what is complete is "
                    "kept; choose fewer runner.num_workers if it happens again"
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _start_worker(turns: SimpleQueue[int | None]) -> None:
    """Workers share the cores among themselves, so each thread of theirs uses one; set before torch is loaded."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    gpu = turns.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpu)


def build(config: Config) -> LocalRunner:
    return LocalRunner(config.num_workers, config.gpus)
