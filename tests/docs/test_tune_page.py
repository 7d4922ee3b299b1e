"""The page on tuning: what it tells people to write is what a training takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from stlm.config.build import build_optimizer, build_tuning
from stlm.config.schema import TrainConfig
from stlm.testing.factories import tiny_system

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tune.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n")[0] for block in BLOCKS])
def test_each_block_is_a_config(block: str) -> None:
    typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.create(block)))
    assert isinstance(typed, TrainConfig) and typed != TrainConfig()
    typed.tuning.rows = ["energy"] if typed.tuning.rows else []
    build_tuning(typed.tuning, tiny_system().codec)
    build_optimizer({"name": "muon"}, typed.tuning.rates)
