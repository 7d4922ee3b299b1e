"""Processes of this machine: each has its GPU, and one that dies is said."""

from __future__ import annotations

import os

import pytest

from stlm.errors import ConfigError, StlmError
from stlm.prepare import LocalRunner


def test_a_worker_that_dies_is_said_in_one_line() -> None:
    with pytest.raises(StlmError, match=r"a worker was killed.*run the same command again") as caught:
        list(LocalRunner(num_workers=2).run(os._exit, [9, 9, 9]))  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)


def test_each_worker_sees_a_gpu_of_its_own() -> None:
    runner = LocalRunner(gpus=[5, 7])
    assert runner.num_workers == 2
    found = list(runner.run(os.getenv, ["CUDA_VISIBLE_DEVICES"] * 6))
    assert set(found) <= {"5", "7"} and len(found) == 6
    assert list(LocalRunner(num_workers=2).run(os.getenv, ["OMP_NUM_THREADS"] * 2)) == ["1", "1"]


def test_one_gpu_is_chosen_even_by_one_worker() -> None:
    assert list(LocalRunner(num_workers=1, gpus=[3]).run(os.getenv, ["CUDA_VISIBLE_DEVICES"])) == ["3"]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") != "3"


def test_fewer_than_no_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_workers must be 0 .* or more, got -1"):
        LocalRunner(num_workers=-1)
