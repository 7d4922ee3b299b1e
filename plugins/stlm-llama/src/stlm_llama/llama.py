"""LlamaForCausalLM from random initialisation, or from a directory that was saved before."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from stlm.errors import ConfigError
from stlm_llama.backbone import HuggingFaceBackbone
from stlm_llama.pretrained import load_model


@dataclass(frozen=True, kw_only=True)
class Config:
    """Size of a Llama; with `path` the saved model's own configuration is used instead."""

    vocab_size: int = 0
    hidden_size: int = 256
    num_layers: int = 6
    num_heads: int = 4
    intermediate_size: int = 704
    max_positions: int = 4096
    rope_base: float = 100000.0
    tie_embeddings: bool = True
    seed: int = 0
    path: str = ""


def build(config: Config) -> HuggingFaceBackbone:
    """A Llama with weights drawn from ``config.seed``; the global generator is left as it was.

    Raises:
        ConfigError: the width does not divide by the heads, or the vocabulary is empty.
    """
    if config.path:
        return HuggingFaceBackbone(load_model(config.path, torch.float32))
    if config.hidden_size % config.num_heads:
        raise ConfigError(f"hidden_size {config.hidden_size} must be a multiple of num_heads {config.num_heads}")
    if config.vocab_size <= 0:
        raise ConfigError("vocab_size must be positive: set backbone.vocab_size, or build it from a format")
    llama = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        max_position_embeddings=config.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
        tie_word_embeddings=config.tie_embeddings,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return HuggingFaceBackbone(LlamaForCausalLM(llama))
