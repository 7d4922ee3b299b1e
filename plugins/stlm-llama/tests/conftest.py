"""Tiny models of four architectures, and a Llama tied or not, with weights large enough that differences show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from stlm_llama.backbone import HuggingFaceBackbone
from stlm_llama.llama import Config, build

torch.set_num_threads(1)  # tiny matrices: more threads only wait for each other


SIZES = {"vocab_size": 24, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
NO_IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
ARCHITECTURES: Mapping[str, tuple[type[PreTrainedModel], type[PreTrainedConfig], Mapping[str, object]]] = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"intermediate_size": 24}),
    "qwen3": (
        Qwen3ForCausalLM,
        Qwen3Config,
        {"intermediate_size": 24, "num_key_value_heads": 1, "head_dim": 8, "tie_word_embeddings": True},
    ),
    "opt": (OPTForCausalLM, OPTConfig, {"ffn_dim": 24, "word_embed_proj_dim": 16, "max_position_embeddings": 32}),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, {"intermediate_size": 24}),
}
"""Rotary and learned positions, one table and two, grouped heads, biases: what transformers' causal LMs differ in."""


def tiny_model(architecture: str, **changes: object) -> PreTrainedModel:
    """A random causal LM of one of `ARCHITECTURES`."""
    kind, config, more = ARCHITECTURES[architecture]
    model = kind(config(**{**SIZES, **NO_IDS, **more, **changes}))
    enlarge(model)
    return model.eval()


def enlarge(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)


@pytest.fixture
def tiny_models() -> dict[str, Callable[..., PreTrainedModel]]:
    """Builders of four tiny models by architecture; each takes changes of its transformers config."""
    return {name: partial(tiny_model, name) for name in ARCHITECTURES}


def tiny(**changes: object) -> HuggingFaceBackbone:
    sizes = {"vocab_size": 24, "hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 24}
    backbone = build(Config(**{**sizes, **changes}))
    enlarge(backbone)
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
