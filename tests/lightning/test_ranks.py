"""The same run on one process and on several, through DDP and FSDP2; and killed runs that go on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from stlm.testing.factories import make_corpus, tiny_system, write_shards

SCRIPT = Path(__file__).with_name("train_on_ranks.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ranks")
    corpus = make_corpus(24, streams=tuple(tiny_system().codec.streams.values()))
    write_shards(found / "shards", corpus, group_size=4)
    return found


def command(root: Path, out: Path, **job) -> list[str]:
    content = {"shards": str(root / "shards"), "out": str(out), "ids": str(out) + "-ids", **job}
    return [sys.executable, str(SCRIPT), json.dumps(content)]


def train(root: Path, out: Path, **job) -> None:
    done = subprocess.run(command(root, out, **job), env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def losses(out: Path) -> dict[int, float]:
    """Loss by step, of all parts of a run; a step that was taken twice has that of the later part."""
    found: dict[int, float] = {}
    for part in sorted(out.glob("logs/part-*/metrics.csv")):
        with part.open() as file:
            found |= {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
    return found


def ids_by_step(out: Path) -> dict[int, list]:
    """The ids of each optimizer step: the batches of all ranks, in the order of the ranks within each round."""
    ranks = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted(out.parent.glob(out.name + "-ids-*"))
    ]
    found: dict[int, list] = {}
    for batches in zip(*ranks, strict=True):
        for step, ids in batches:
            found.setdefault(step, []).extend(ids)
    return found


def assert_same_run(one: Path, other: Path, *, within: float = 1e-5) -> None:
    assert ids_by_step(one) == ids_by_step(other)
    assert losses(one) == pytest.approx(losses(other), abs=within)
    assert json.loads((one / "accounts.json").read_text()) == json.loads((other / "accounts.json").read_text())
    left, right = (load_file(out / "backbone" / "model.safetensors") for out in (one, other))
    assert left.keys() == right.keys()
    for name, weights in left.items():
        assert weights == pytest.approx(right[name], abs=within), name


@pytest.fixture(scope="module")
def alone(root: Path) -> Path:
    train(root, root / "alone", options={"max_steps": 6, "batch_rows": 8})
    return root / "alone"


@pytest.mark.parametrize(
    "options",
    [{"strategy": "ddp"}, {"strategy": "fsdp2", "activation_checkpointing": True}],
    ids=["ddp", "fsdp2"],
)
def test_two_ranks_train_the_model_that_one_trains(root: Path, alone: Path, options: dict) -> None:
    out = root / options["strategy"]
    train(root, out, options={"max_steps": 6, "batch_rows": 8, "devices": 2, **options})
    assert_same_run(alone, out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "options"),
    [
        ({}, {"sharded_checkpoints": True}),
        ({}, {"sharded_checkpoints": False}),
        ({"lora": True}, {"sharded_checkpoints": True}),
        ({"stages": 2}, {"sharded_checkpoints": True}),
        ({"stages": 3}, {"sharded_checkpoints": True}),
    ],
    ids=["parts", "whole", "lora", "in the second stage", "at the end of a stage"],
)
def test_a_sharded_run_goes_on_with_another_number_of_ranks(
    root: Path, tmp_path: Path, job: dict, options: dict
) -> None:
    train(root, tmp_path / "alone", options={"max_steps": 6, "batch_rows": 8}, **job)
    options = {"batch_rows": 8, "strategy": "fsdp2", **options}
    train(root, tmp_path / "parts", options={**options, "max_steps": 3, "devices": 2}, **job)
    train(root, tmp_path / "parts", options={**options, "max_steps": 6, "devices": 1, "resume": True}, **job)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)


@pytest.mark.slow
def test_stages_are_the_same_on_two_ranks(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "alone", options={"max_steps": 4, "batch_rows": 8}, stages=2)
    options = {"max_steps": 4, "batch_rows": 8, "devices": 2, "strategy": "ddp"}
    train(root, tmp_path / "two", options=options, stages=2)
    assert_same_run(tmp_path / "alone", tmp_path / "two")


def test_a_run_on_two_ranks_goes_on_with_one(root: Path, alone: Path, tmp_path: Path) -> None:
    options = {"batch_rows": 8, "strategy": "ddp"}
    train(root, tmp_path / "moved", options={**options, "max_steps": 3, "devices": 2})
    first = ids_by_step(tmp_path / "moved")
    for path in tmp_path.glob("moved-ids-*"):
        path.unlink()
    train(root, tmp_path / "moved", options={**options, "max_steps": 6, "devices": 1, "resume": True})
    assert {**first, **ids_by_step(tmp_path / "moved")} == ids_by_step(alone)
    assert losses(tmp_path / "moved") == pytest.approx(losses(alone), abs=1e-5)


def test_a_killed_run_goes_on_bit_for_bit_with_another_number_of_workers(
    root: Path, alone: Path, tmp_path: Path
) -> None:
    options = {"max_steps": 6, "batch_rows": 8, "checkpoint_every": 2}
    kill_at(root, tmp_path / "killed", 4, options=options)
    train(root, tmp_path / "killed", options={**options, "resume": True}, feed={"num_workers": 2})
    assert_bit_for_bit(tmp_path / "killed", alone)


@pytest.mark.slow
def test_a_run_killed_again_and_again_is_bit_for_bit_the_undisturbed_one(root: Path, tmp_path: Path) -> None:
    """At random steps, with random numbers of workers; also inside a step, and while a checkpoint is written."""
    options = {"max_steps": 30, "batch_rows": 8, "checkpoint_every": 1}
    train(root, tmp_path / "alone", options=options)
    out, step, rng = tmp_path / "killed", 0, np.random.default_rng(0)
    for _ in range(6):
        step = min(29, step + int(rng.integers(2, 6)))
        resume = (out / "checkpoints" / "last.ckpt").exists()
        feed = {"num_workers": int(rng.choice([0, 1, 2, 4]))}
        kill_at(root, out, step, wait=rng.uniform(0, 0.2), options={**options, "resume": resume}, feed=feed)
    train(root, out, options={**options, "resume": True})
    whole, found = losses(tmp_path / "alone"), losses(out)
    # a kill between a step's checkpoint and its line in the log loses the line: the curve then lacks a point
    assert len(found) >= len(whole) - 6 and found.items() <= whole.items()
    assert_same_weights(out, tmp_path / "alone")


def kill_at(root: Path, out: Path, step: int, *, wait: float = 0.0, **job) -> None:
    """Start a run and kill -9 it, and all its processes, some time after the first batch of a step."""
    running = subprocess.Popen(command(root, out, **job), env=ENVIRONMENT, start_new_session=True)
    deadline = time.monotonic() + 180
    while not any(seen >= step for seen in _steps(out)) and running.poll() is None:
        assert time.monotonic() < deadline, f"the run did not reach step {step}"
        time.sleep(0.01)
    time.sleep(wait)
    assert running.poll() is None, "the run ended before it was killed"
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()


def assert_bit_for_bit(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    assert_same_weights(one, other)


def assert_same_weights(one: Path, other: Path) -> None:
    left, right = ((path / "backbone" / "model.safetensors").read_bytes() for path in (one, other))
    assert left == right


def _steps(out: Path) -> list[int]:
    path = Path(f"{out}-ids-0")
    return (
        [json.loads(line)[0] for line in path.read_text().splitlines() if line.endswith("]")] if path.exists() else []
    )
