"""Several processes of one training: the first speaks, and what one alone has met is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stlm.cli import main, ranks, train
from stlm.errors import DataError

VARIABLES = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
FAILING = """
import argparse, sys
import torch
from stlm.cli import main, train
from stlm.errors import DataError

rank, rendezvous, line = int(sys.argv[1]), sys.argv[2], sys.argv[3]

def fail(_):
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    raise DataError(line)

train.run = fail
sys.exit(main(["train"]))
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "8", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "SLURM_PROCID": "0"}, True),
        ({"RANK": "1", "SLURM_PROCID": "0"}, False),  # torchrun in a job
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # Lightning in a job
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_the_first_process_is_known_whoever_started_it(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.is_first() is expected


def test_what_another_process_has_met_is_said_after_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise DataError("this node has no such disk")

    waited: list[float] = []
    monkeypatch.setattr(train, "run", fail)
    monkeypatch.setattr(ranks.time, "sleep", waited.append)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert main(["train"]) == 2
        assert capsys.readouterr().err == "stlm train: this node has no such disk\n"
    assert waited == [ranks.WAIT], "the first says it at once"


@pytest.mark.parametrize(("lines", "said"), [(("the same", "the same"), 1), (("one", "another"), 2)])
def test_processes_that_fail_alike_say_so_once(lines: tuple[str, str], said: int, tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", FAILING, str(rank), str(tmp_path / "rendezvous"), line],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, line in enumerate(lines)
    ]
    errors = "".join(process.communicate(timeout=60)[1] for process in running)
    assert [process.returncode for process in running] == [2, 2], errors
    assert sum(line.startswith("stlm train: ") for line in errors.splitlines()) == said, errors
