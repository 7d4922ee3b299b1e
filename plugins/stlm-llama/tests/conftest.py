"""A tiny Llama, tied or not, with weights large enough that differences show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stlm_llama.backbone import HuggingFaceBackbone
from stlm_llama.llama import Config, build

torch.set_num_threads(1)  # tiny matrices: more threads only wait for each other


def tiny(**changes: object) -> HuggingFaceBackbone:
    sizes = {"vocab_size": 24, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 24}
    backbone = build(Config(**{**sizes, **changes}))
    generator = torch.Generator().manual_seed(1)
    for parameter in backbone.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return backbone.eval()


@pytest.fixture
def make_backbone() -> Callable[..., HuggingFaceBackbone]:
    return tiny


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def tied(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def backbone(tied: bool) -> HuggingFaceBackbone:
    return tiny(tie_embeddings=tied)


@pytest.fixture
def saved(tied: bool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved")
    tiny(tie_embeddings=tied).save(directory)
    return directory
