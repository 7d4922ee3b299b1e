"""The tutorials run as they stand, with toy sizes in place of real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stlm.config.build import build_component

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
TOY_SIZES = {
    "train.md": {
        "source.num=150": "source.num=12",
        "recipe.num_units=64": "recipe.num_units=20",
        "source.num=3000": "source.num=150",
        "recipe.vocab_size=700": "recipe.vocab_size=400",
        "source.num=400": "source.num=64",
        "source.num=1200": "source.num=64",
        "trainer.max_steps=200": "trainer.max_steps=2 feed.rows=1",
        "trainer.max_steps=300": "trainer.max_steps=3 feed.rows=1",
        "--to text": "--to text --max-new-tokens 5",
        "num_pairs: 50": "num_pairs: 2",
    },
    "tokenizers.md": {  # tests/demo runs the road
        "source.num=5000 recipe.vocab_size=700": "source.num=150 recipe.vocab_size=400",
        "source.num=2000 recipe.max_steps=1200": "source.num=24 recipe.max_steps=2",
        "source.num=3000 recipe.max_steps=2500 recipe.num_clusters=200": "source.num=24 recipe.max_steps=2",
        "source.num=3000 recipe.max_steps=3500": "source.num=24 recipe.max_steps=2",
        "source.num=1500": "source.num=40",
        "source.num=500 ": "source.num=16 recipe.max_steps=2 recipe.held_out=2 ",
        "source.num=800": "source.num=40",
        "recipe.max_steps=900": "recipe.max_steps=2",
        "source.num=2000 recipe.max_steps=2600": "source.num=16 recipe.max_steps=2",
        "source.num=4000 recipe.max_steps=18000": "source.num=16 recipe.max_steps=2",
        "source.num=4000 recipe.max_steps=3600": "source.num=24 recipe.max_steps=2",
        "limit=100": "limit=2",
        "stlm demo --system tiny-base --checkpoint runs/tiny --out runs/on-tiny-units": "true",
    },
    "demo.md": {
        "make demo": "true",  # tests/demo runs the road
        "path/to/recordings --out runs/mine": "recordings --out runs/mine --minutes 0.02",
    },
}


def blocks_of(page: str) -> list[str]:
    """The shell blocks of a tutorial at toy size; a size that no longer stands there is an error."""
    text = (TUTORIALS / page).read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for real, toy in TOY_SIZES[page].items():
        assert any(real in block for block in blocks), f"{page} no longer says {real!r}: bring TOY_SIZES up to date"
        blocks = [block.replace(real, toy) for block in blocks]
    return blocks


def run_blocks(page: str, directory: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    script = "\n".join(["set -ex", *blocks_of(page)])  # one shell, as a reader has: variables stay
    done = subprocess.run(
        ["bash", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_every_tutorial_is_run() -> None:
    assert {path.name for path in TUTORIALS.glob("*.md")} - {"index.md"} == set(TOY_SIZES)


def test_training_from_parts(tmp_path: Path) -> None:
    run_blocks("train.md", tmp_path)
    assert (tmp_path / "runs/parts/model/evaluation/results.json").exists()


@pytest.mark.slow
def test_training_every_tokenizer_and_the_voice(tmp_path: Path) -> None:
    source = build_component("source", {"name": "windtunnel", "num": 1, "kind": "sentences"})
    next(iter(source.utterances())).audio.save(tmp_path / "recording.wav")
    run_blocks("tokenizers.md", tmp_path)
    assert (tmp_path / "runs/tiny/report/report.html").exists()


@pytest.mark.slow
def test_the_demo_on_a_folder_of_recordings(tmp_path: Path) -> None:
    source = build_component("source", {"name": "windtunnel", "num": 24, "kind": "sentences"})
    (tmp_path / "recordings").mkdir()
    for utterance in source.utterances():
        name = tmp_path / "recordings" / utterance.id.replace("/", "-")
        utterance.audio.save(name.with_suffix(".wav"))
        name.with_suffix(".txt").write_text(utterance.text)
    run_blocks("demo.md", tmp_path)
    assert (tmp_path / "runs/mine/report.html").exists()
