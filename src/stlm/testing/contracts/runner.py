"""Laws of `Runner`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from stlm.errors import DataError
from stlm.interfaces import Runner
from stlm.testing.contracts.component import ComponentContract


class RunnerContract(ComponentContract):
    """Subclass with a fixture ``runner``; where it starts processes, let it start two."""

    kind: ClassVar[str] = "runner"

    def test_every_task_gives_its_result(self, runner: Runner) -> None:
        assert sorted(runner.run(square, [1, 2, 3, 4])) == [1, 4, 9, 16]

    def test_every_task_runs_once(self, runner: Runner, tmp_path: Path) -> None:
        tasks = [tmp_path / name for name in ("a", "b", "c")]
        assert sorted(runner.run(append_line, tasks)) == sorted(tasks)
        assert [task.read_text() for task in tasks] == ["ran\n"] * 3

    def test_no_task_gives_no_result(self, runner: Runner) -> None:
        assert list(runner.run(square, [])) == []

    def test_an_exception_in_a_task_is_raised_in_the_caller(self, runner: Runner) -> None:
        with pytest.raises(DataError, match="task 2 fails"):
            list(runner.run(fail_on_two, [1, 2, 3]))


def square(number: int) -> int:
    return number * number


def append_line(path: Path) -> Path:
    with path.open("a") as file:
        file.write("ran\n")
    return path


def fail_on_two(number: int) -> int:
    if number == 2:
        raise DataError("task 2 fails")
    return number
