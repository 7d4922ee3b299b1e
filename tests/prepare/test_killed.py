"""Preparation survives kill -9 at any moment: after a rerun the shards are those of an undisturbed run, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.killed import check_that_kills_lose_nothing, corpus_to_prepare


@pytest.mark.slow
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    overrides = corpus_to_prepare(tmp_path)
    check_that_kills_lose_nothing([*overrides, "runner.num_workers=2"], tmp_path, kills=20)
