"""The page on training runs as it stands at toy size: the same run on one process and on two, however they are started.

`sbatch` and `srun` are scripts that set the variables that SLURM would set.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from stlm.cli import main

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
TOY_SIZES = {
    "source.num=40": "source.num=8",
    "trainer.max_steps=200": "trainer.max_steps=2 feed.rows=1 trainer.report_every=1 backbone.num_layers=1",
    "trainer.max_steps=300": "trainer.max_steps=3",
}
SBATCH = """#!/usr/bin/env bash
# sbatch --nodes=N --ntasks-per-node=N [--…] SCRIPT ARGUMENTS
set -euo pipefail
while [[ $1 == --* ]]; do
    case $1 in
        --nodes=*) export SLURM_NNODES=${1#*=} ;;
        --ntasks-per-node=*) export SLURM_NTASKS_PER_NODE=${1#*=} ;;
    esac
    shift
done
export SLURM_JOB_ID=4711 SLURM_CPUS_PER_TASK=1 SLURM_NTASKS=$((SLURM_NNODES * SLURM_NTASKS_PER_NODE))
exec bash "$@"
"""
SRUN = """#!/usr/bin/env bash
# srun --kill-on-bad-exit=1 COMMAND
set -euo pipefail
shift
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NODEID=0 "$@" &
done
for _ in $(jobs -p); do wait -n; done
"""
SCONTROL = '#!/usr/bin/env bash\necho "$@" > requeued\n'
SAYS = '#!/usr/bin/env bash\necho "$@"\n'


PARTS = """\
train recipe=logmel_kmeans source=windtunnel source.num=12 recipe.num_units=20 out=PARTS/units
train recipe=bpe source=windtunnel source.modality=text source.num=150 recipe.vocab_size=400 out=PARTS/text
prepare source=windtunnel source.num=32 unit_encoders=[{name:logmel,path:PARTS/units}] group_size=4 out=PARTS/speech
prepare source=windtunnel source.modality=text source.num=32 group_size=4 out=PARTS/stories
"""


def make_program(directory: Path, name: str, text: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text)
    (directory / name).chmod(0o755)


def environment(place: Path, **variables: str) -> dict[str, str]:
    path = os.pathsep.join([str(place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path, **variables}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (HOW_TO / "train.md").read_text(), re.MULTILINE | re.DOTALL)


def run(script: str, place: Path) -> subprocess.CompletedProcess[str]:
    for real, toy in TOY_SIZES.items():
        script = script.replace(real, toy)
    done = subprocess.run(
        ["bash", "-euxc", script], cwd=place, env=environment(place), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page begins with, and its first two blocks: held-out stories, and the run on one device."""
    place = tmp_path_factory.mktemp("page")
    for command in PARTS.replace("PARTS", str(place / "runs" / "parts")).splitlines():
        assert main(shlex.split(command)) == 0
    shutil.copy(HOW_TO / "train.sbatch", place)
    make_program(place / "bin", "sbatch", SBATCH)
    make_program(place / "bin", "srun", SRUN)
    run("\n".join(blocks("bash")[:2]), place)
    return place


def accounts(place: Path, name: str) -> dict:
    return json.loads((place / "runs" / name / "accounts.json").read_text())


def test_every_block_is_run() -> None:
    assert len(blocks("bash")) == 5 and len(blocks('bash title="torchrun"')) == 1
    assert len(blocks('bash title="SLURM"')) == 1
    assert len(blocks(r"\w[^\n]*")) == 11, "and four that need GPUs or a bad step"
    assert all(any(size in block for block in blocks("bash")) for size in TOY_SIZES)


@pytest.mark.slow
def test_on_a_laptop(place: Path) -> None:
    """Two processes do what one did, and one goes on with what they began."""
    two, resume, export = blocks("bash")[2:]
    done = run(two, place)
    assert accounts(place, "two") == accounts(place, "one")
    assert [line.split()[0] for line in done.stdout.splitlines()][-4:] == ["corpus", "speech", "text", "interleaved"]
    assert done.stdout.count("interleaved") == 1, "the first process alone says what was done"
    with (place / "runs" / "two" / "logs" / "part-00" / "metrics.csv").open() as file:
        assert {"valid/stories", "valid/stories/text", "throughput/waited_for_data"} <= set(next(csv.reader(file)))
    run(f"{resume}\n{export}", place)
    assert accounts(place, "two")["steps"] == 3
    assert (place / "exports" / "two" / "tokenizer.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "SLURM"])
def test_other_launchers_start_the_same_run(launcher: str, place: Path) -> None:
    (script,) = blocks(f'bash title="{launcher}"')
    run(script, place)
    assert accounts(place, launcher.lower()) == accounts(place, "one")


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts ``train.sbatch`` as one task, in which `stlm` is another program."""
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL}.items():
        make_program(tmp_path / "bin", name, text)

    def start(program: str, **variables: str) -> subprocess.Popen[str]:
        make_program(tmp_path / "bin", "stlm", program)
        command = ["sbatch", "--nodes=1", "--ntasks-per-node=1", str(HOW_TO / "train.sbatch"), "run", "seed=1"]
        return subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path, **variables), stdout=PIPE, text=True)

    return start


def test_a_job_goes_on_where_there_is_a_checkpoint(job: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    given = "train seed=1 out=run trainer.num_nodes=1 trainer.devices=1 trainer.progress=false"
    assert job(SAYS).communicate()[0].strip() == given
    assert job(SAYS, SLURM_RESTART_COUNT="1").communicate()[0].strip() == f"{given} trainer.overwrite=true"
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").touch()
    assert job(SAYS, SLURM_RESTART_COUNT="1").communicate()[0].strip() == f"{given} trainer.resume=true"


def test_a_job_requeues_itself_before_its_time_is_over(
    job: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    running = job("#!/usr/bin/env bash\necho begun\nsleep 60\n")
    assert running.stdout is not None and running.stdout.readline() == "begun\n"
    running.send_signal(signal.SIGUSR1)
    assert running.wait(timeout=30) != 0
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"


def test_a_job_fails_with_its_training(job: Callable[..., subprocess.Popen[str]]) -> None:
    assert job("#!/usr/bin/env bash\nexit 2\n").wait(timeout=30) == 2
