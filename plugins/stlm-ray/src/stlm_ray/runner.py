"""Tasks on a Ray cluster: one that runs already, or one started on this machine for as long as the run lasts.

Nodes need the same installation of stlm and its plugins, and see the corpus and the output under the same paths. Tasks
are pure, so those of a lost worker or node simply run again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from stlm.errors import ConfigError, StlmError
from stlm.interfaces.stage import Result, Runner, Task

logger = logging.getLogger(__name__)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # tasks that fail after the first one do not write into the progress bar
    "RAY_raylet_start_wait_time_s": "120",  # 30 s are not enough for a node on a busy machine
}
GIB = 1 << 30
PATIENCE = 10.0
"""Seconds that cancelled tasks have to remove what they were writing, before their workers are killed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `RayRunner`.

    Args:
        address: empty for a cluster of this machine's cores and GPUs, for this run; "auto" for the one that this node
            belongs to; or HOST:PORT.
        num_cpus, num_gpus: of a task, which runs in `num_cpus` threads; 0.5 GPUs are shared by two tasks.
        memory: GiB of a task; 0 is not counted.
        max_in_flight: tasks handed to the cluster at once; the rest of a million waits here.
        retries: of a task whose worker or node was lost; -1 for ever.
    """

    address: str = ""
    num_cpus: int = 1
    num_gpus: float = 0.0
    memory: float = 0.0
    max_in_flight: int = 1000
    retries: int = 3

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or self.num_gpus < 0 or self.memory < 0 or self.max_in_flight < 1 or self.retries < -1:
            raise ConfigError(
                "runner ray needs num_cpus and max_in_flight of 1 or more, num_gpus and memory of 0 or more and "
                f"retries of -1 or more, got {self}"
            )


class RayRunner(Runner):
    """Options as in `Config`.

    An exception in a task is raised here as it is, with Ray's account of it as its cause; the tasks that still run are
    cancelled, as they are on Ctrl-C.

    Raises:
        ConfigError: there is no cluster at the address, or this machine has not what a task asks for.
        StlmError: a task was lost more often than `retries`.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        if tasks:
            with _connected(self.config.address):
                self._check_room()
                yield from self._results(work, tasks)

    def _results(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        threads, directory = self.config.num_cpus, Path.cwd()

        def run(task: Task) -> Result:
            _settle(threads, directory)
            return work(task)

        remote = ray.remote(run).options(max_retries=self.config.retries, **self._asked())
        left, running = iter(tasks), []
        try:
            while True:
                running += [remote.remote(task) for task in islice(left, self.config.max_in_flight - len(running))]
                if not running:
                    return
                done, running = ray.wait(running)
                yield ray.get(done[0])
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise StlmError(
                f"a task was lost {self.config.retries + 1} times ({_line(error)}): run the same command again, what "
                "is complete is kept; if workers want for memory, set runner.memory to the GiB of a task"
            ) from error
        finally:
            for task in running:
                ray.cancel(task)
            if running:
                ray.wait(running, num_returns=len(running), timeout=PATIENCE)

    def _asked(self) -> dict[str, Any]:
        """What Ray sets aside for a task."""
        memory = {"memory": round(self.config.memory * GIB)} if self.config.memory else {}
        return {"num_cpus": self.config.num_cpus, "num_gpus": self.config.num_gpus, **memory}

    def _check_room(self) -> None:
        """Ray would wait without a word for a node that may never come."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if has_room(nodes, self._asked()):
            return
        asked = ", ".join(f"{name}={value:g}" for name, value in self._asked().items() if value)
        if self.config.address:
            logger.warning("no node of the cluster has %s: waiting for one that has", asked)
        else:
            raise ConfigError(f"runner ray: a task asks for {asked}, more than this machine has: ask for less")


def has_room(nodes: Iterable[Mapping[str, float]], asked: Mapping[str, float]) -> bool:
    """Whether one of the nodes, given by their resources, has all that a task asks for."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    return any(all(node.get(names[name], 0.0) >= value for name, value in asked.items()) for node in nodes)


def build(config: Config) -> RayRunner:
    return RayRunner(config)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Ray without messages of its own; a cluster that was started here ends with it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    own = {} if address else {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    try:
        if ":" in address:  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address or "local", logging_level=logging.CRITICAL, log_to_driver=False, **own)
    except Exception as error:  # Ray raises bare ones, too, such as for a node that starts too slowly
        raise ConfigError(
            f"runner ray: cannot join the cluster at {address or 'this machine'!r} ({_line(error)}): start one with "
            "`ray start --head`, or leave runner.address empty"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _settle(threads: int, directory: Path) -> None:
    """In a worker: as many threads as cores were set aside, and relative paths as they were meant."""
    import torch

    torch.set_num_threads(threads)
    if directory.is_dir():
        os.chdir(directory)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
