"""The page on preparation runs as it stands: the same corpus in three places gives the same shards.

`sbatch` is a script that runs the tasks of an array one after the other, with the variables that SLURM would set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stlm.audio import write_audio
from stlm.store import ShardSet
from stlm.testing.factories import make_utterance

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
SBATCH = """#!/usr/bin/env bash
# sbatch [--parsable] --array=LIST SCRIPT ARGUMENTS, or --dependency=… --wrap COMMAND
set -euo pipefail
while [[ $1 == --* ]]; do
    case $1 in
        --array=*) array=${1#--array=} ;;
        --wrap) exec bash -c "$2" ;;
    esac
    shift
done
if [[ $array == *-* ]]; then tasks=$(seq "${array%-*}" "${array#*-}"); else tasks=${array//,/ }; fi
export SLURM_ARRAY_TASK_COUNT=$(wc -w <<< "$tasks")
for SLURM_ARRAY_TASK_ID in $tasks; do
    export SLURM_ARRAY_TASK_ID
    bash "$@" >&2
done
echo 4711
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with their texts, one of them broken, and the local run that the page begins with."""
    place = tmp_path_factory.mktemp("page")
    (place / "recordings").mkdir()
    for seed in range(7):
        utterance = make_utterance(seed, num_words=5)
        write_audio(place / "recordings" / f"{seed}.wav", utterance.audio)
        (place / "recordings" / f"{seed}.txt").write_text(utterance.text)
    shutil.copy(HOW_TO / "slurm.sbatch", place)
    (place / "bin").mkdir()
    (place / "bin" / "sbatch").write_text(SBATCH)
    (place / "bin" / "sbatch").chmod(0o755)
    first, local = blocks("bash")
    run(first, place)
    (place / "recordings" / "6.wav").write_bytes(b"RIFF")
    run(local, place)
    return place


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (HOW_TO / "prepare.md").read_text(), re.MULTILINE | re.DOTALL)


def run(script: str, place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(place / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, **variables}
    done = subprocess.run(
        ["bash", "-euxc", script], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "run.json"}


def test_every_block_is_run() -> None:
    assert len(blocks("bash")) == 2 and len(blocks('bash title="Ray"')) == 1 and len(blocks('bash title="SLURM"')) == 1
    assert len(blocks(r"\w[^\n]*")) == 5  # and one that needs an aligner


@pytest.mark.slow
def test_under_slurm(place: Path) -> None:
    (script,) = blocks('bash title="SLURM"')
    done = run(script, place)
    assert "3 of 3 shards reused" in done.stdout and "6 utterances in 3 shards are sound" in done.stdout
    assert files_of(place / "shards-slurm") == files_of(place / "shards-local")
    assert '"id": "6"' in (place / "shards-slurm" / "quarantine.jsonl").read_text()


@pytest.mark.slow
def test_parts_that_are_sent_again_are_parts_of_all(place: Path) -> None:
    run("sbatch --array=1 slurm.sbatch $(cat corpus.args) out=again", place, SHARDS="3")
    (path,) = (place / "again").glob("*.parquet")
    assert path.read_bytes() == (place / "shards-local" / path.name).read_bytes()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_on_ray(place: Path) -> None:
    (script,) = blocks('bash title="Ray"')
    done = run(script, place)
    assert files_of(place / "shards-ray") == files_of(place / "shards-local")
    assert ShardSet(place / "shards-ray").num_utterances == 6
    noise = [
        line for line in done.stderr.replace("\r", "\n").splitlines() if not re.match(r"(prepare: .*|\+.*|)$", line)
    ]
    assert not noise
