"""On a real cluster of two nodes: shards to the byte as on one machine, also if a worker or a node is killed.

Nodes are processes on this machine with one logical core each, so any machine will do. Under pytest-xdist each worker
that gets one of these tests starts a cluster of its own, on ports of its own; `--dist loadgroup` keeps them in one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.audio import write_audio
from stlm.errors import ConfigError, StlmError
from stlm.plugin import Choice
from stlm.prepare import LocalRunner, ShardReport, ShardTask, prepare
from stlm.prepare.encode import prepare_shard
from stlm.testing.contracts import RunnerContract
from stlm.types import Audio, Utterance
from stlm_ray.runner import ENVIRONMENT, Config, RayRunner

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False, "no_monitor": True}


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    os.environ |= ENVIRONMENT
    from ray.cluster_utils import Cluster  # two seconds, which quick tests need not wait for

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    cluster.add_node(**NODE)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def runner(cluster) -> RayRunner:
    return RayRunner(Config(address=cluster.address))


class TestRayRunner(RunnerContract):
    component = "ray"


def noise(seed: int) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, 16000 + 800 * seed)
    return Audio(samples=samples.astype(np.float32), sample_rate=16000)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ShardTask:
    """Sixteen recordings, one without text and one that is none, to be encoded with a codebook of eight units."""
    root = tmp_path_factory.mktemp("corpus")
    for number in range(16):
        write_audio(root / f"{number}.wav", noise(number))
        (root / f"{number}.txt").write_text(f"number {number}")
    (root / "3.txt").unlink()
    (root / "5.wav").write_bytes(b"RIFF")
    codebook = tmp_path_factory.mktemp("codebook")
    recipe = Choice(name="logmel_kmeans", options={"num_units": 8}).build("recipe")
    recipe.train([Utterance(id=str(seed), audio=noise(seed)) for seed in range(4)], codebook)
    return ShardTask(
        source=Choice(name="folder", options={"path": str(root)}),
        encoders=[Choice(name="logmel", options={"path": str(codebook)})],
        out=tmp_path_factory.mktemp("local"),
        shard=0,
        num_shards=8,
        group_size=2,
    )


@pytest.fixture(scope="module")
def expected(task: ShardTask) -> dict[str, bytes]:
    """What one process on this machine makes of it."""
    prepared = prepare(task, LocalRunner(num_workers=1))
    assert (prepared.num_utterances, prepared.num_rejected, prepared.num_in_part) == (15, 1, 1)
    return files_of(task.out)


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_shards_are_to_the_byte_those_of_one_process(
    runner: RayRunner, task: ShardTask, expected: dict[str, bytes], tmp_path: Path
) -> None:
    assert prepare(replace(task, out=tmp_path), runner).num_reused == 0
    assert files_of(tmp_path) == expected


@pytest.mark.parametrize("lost", ["worker", "node"])
def test_what_a_lost_worker_or_node_had_begun_is_done_elsewhere(
    cluster, runner: RayRunner, task: ShardTask, expected: dict[str, bytes], tmp_path: Path, lost: str
) -> None:
    node = cluster.add_node(**NODE) if lost == "node" else None
    begun, doomed, out = tmp_path / "begun", node and node.node_id, tmp_path / "out"

    def begin(task: ShardTask) -> ShardReport:
        """The first task of the doomed node never ends; without such a node, the first task kills its worker."""
        import ray

        here = ray.get_runtime_context().get_node_id()
        if here == (doomed or here) and not begun.exists():
            begun.touch()
            time.sleep(600) if doomed else os.kill(os.getpid(), signal.SIGKILL)
        return prepare_shard(task)

    def remove() -> None:
        while not begun.exists():
            time.sleep(0.1)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=remove if node else begun.exists)
    killer.start()
    reports = list(runner.run(begin, [replace(task, out=out, shard=shard) for shard in range(8)]))
    killer.join()
    assert begun.exists() and len(reports) == 8
    assert prepare(replace(task, out=out), LocalRunner(num_workers=1)).num_reused == 8
    assert files_of(out) == expected


def test_a_task_that_is_lost_again_and_again_ends_the_run_with_one_line(cluster) -> None:
    def die(number: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StlmError, match=r"a task was lost 2 times .*run the same command again") as caught:
        list(RayRunner(Config(address=cluster.address, retries=1)).run(die, [1]))
    assert "\n" not in str(caught.value)


def test_a_task_has_the_threads_that_it_asked_for_and_the_caller_s_directory(
    cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def where(number: int) -> tuple[int, str]:
        return torch.get_num_threads(), os.getcwd()

    monkeypatch.chdir(tmp_path)
    assert list(RayRunner(Config(address=cluster.address)).run(where, [0])) == [(1, str(tmp_path))]


def test_no_more_tasks_are_handed_over_than_asked(cluster) -> None:
    class Counted(list):
        taken = 0

        def __iter__(self):
            for item in super().__iter__():
                self.taken += 1
                yield item

    tasks = Counted(range(10))
    results = RayRunner(Config(address=cluster.address, max_in_flight=2)).run(str, tasks)
    assert next(results) in ("0", "1") and tasks.taken == 2
    next(results)
    assert tasks.taken == 3
    results.close()


def test_what_still_runs_is_cancelled_when_the_run_is_left(runner: RayRunner, tmp_path: Path) -> None:
    def linger(number: int) -> int:
        if number == 0:
            while not (tmp_path / "started").exists():
                time.sleep(0.1)
            return 0
        (tmp_path / "started").touch()
        try:
            for _ in range(6000):
                time.sleep(0.1)
        finally:
            (tmp_path / "cleaned").touch()
        return 1

    results = runner.run(linger, [0, 1])
    assert next(results) == 0
    results.close()
    assert (tmp_path / "cleaned").exists()


def test_a_cluster_that_is_not_there_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"cannot join the cluster at '127.0.0.1:1' .*ray start --head"):
        list(RayRunner(Config(address="127.0.0.1:1")).run(abs, [1]))
