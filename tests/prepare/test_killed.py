"""Preparation survives kill -9 at any moment: after a rerun the shards are those of an undisturbed run, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.config.run import run_recipe
from stlm.testing.killed import check_that_kills_lose_nothing


@pytest.mark.slow
@pytest.mark.parametrize("runner", [["runner=local", "runner.num_workers=2"]], ids=["local"])
def test_twenty_kills_lose_nothing(runner: list[str], tmp_path: Path, record) -> None:
    for index in range(120):
        sound = record(tmp_path / "corpus" / f"{index:03d}.wav", 0.3 + 0.01 * index, seed=index)
        sound.with_suffix(".txt").write_text(f"number {index}")
    source = {"name": "folder", "path": str(tmp_path / "corpus")}
    run_recipe({"name": "logmel_kmeans", "num_units": 20}, source, tmp_path / "units")
    (tmp_path / "corpus" / "broken.wav").write_bytes(b"RIFF")  # the quarantine list is made again too
    overrides = [
        "source=folder",
        f"source.path={source['path']}",
        f"unit_encoders=[{{name: logmel, path: '{tmp_path / 'units'}'}}]",
        "num_shards=8",
        "group_size=4",
        *runner,
    ]
    (tmp_path / "runs").mkdir()
    check_that_kills_lose_nothing(overrides, tmp_path / "runs", kills=20)
