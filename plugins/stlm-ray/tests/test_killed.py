"""On Ray too: killed at twenty random moments and run again, the shards are to the byte what they would have been."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.killed import check_that_kills_lose_nothing, corpus_to_prepare


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    overrides = corpus_to_prepare(tmp_path)
    check_that_kills_lose_nothing([*overrides, "runner=ray"], tmp_path, kills=20)
