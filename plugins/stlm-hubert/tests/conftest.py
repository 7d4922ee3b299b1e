"""A tiny checkpoint in the official layout and a tiny Hugging Face model with centroids, random weights."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from stlm_hubert.quantizer import QuantizerSizes

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [32] * 8,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
MODEL_CFG: dict[str, Any] = {
    "encoder_embed_dim": 48,
    "encoder_ffn_embed_dim": 64,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 3",
    "extractor_mode": "default",
    "some_key_of_training": 1,
}
QUANTIZER_CFG = {"vocab_size": 60, "dim": 48, "upstream_dim": 48}
OFFICIAL_NAMES = (  # from Hugging Face's names to those of the official file
    ("feature_projection.layer_norm.", "layer_norm."),
    ("feature_projection.projection.", "post_extract_proj."),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder.pos_conv.0.weight_g"),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder.pos_conv.0.weight_v"),
    ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
    ("masked_spec_embed", "mask_emb"),
    ("conv_layers.0.layer_norm.", "conv_layers.0.2."),
    (".conv.weight", ".0.weight"),
    (".attention.", ".self_attn."),
    (".feed_forward.intermediate_dense.", ".fc1."),
    (".feed_forward.output_dense.", ".fc2."),
)


def official_name(name: str) -> str:
    for ours, theirs in OFFICIAL_NAMES:
        name = name.replace(ours, theirs)
    parts = name.split(".")
    if parts[:2] == ["encoder", "layers"] and parts[3] == "layer_norm":
        parts[3] = "self_attn_layer_norm"
    return ".".join(parts)


def make_hubert() -> HubertModel:
    torch.manual_seed(0)
    model = HubertModel(HubertConfig(**SIZES)).eval()
    for name, parameter in model.named_parameters():
        if "conv_layers" in name and name.endswith("conv.weight"):
            torch.nn.init.normal_(parameter, std=2.0 / parameter[0].numel() ** 0.5)
    return model


def make_quantizer_state(sizes: QuantizerSizes) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    widths = sizes.widths
    state = {}
    for place, (before, after) in zip((0, 2, 4), pairwise(widths), strict=True):
        state[f"{place}.weight"] = torch.randn(after, before) * 2 / before**0.5
        state[f"{place}.bias"] = torch.randn(after) * 0.1
    state["4.bias"][-1] += 9.0  # so that blanks occur
    return state


def official_content() -> tuple[dict[str, Any], dict[str, Any]]:
    """What the two official files hold, at a tiny size."""
    weights = {official_name(name): value for name, value in make_hubert().state_dict().items()}
    weights |= {"final_proj.weight": torch.zeros(4, 48), "label_embs_concat": torch.zeros(2, 4)}
    model = {
        "model_cfg": dict(MODEL_CFG),
        "task_cfg": {"sample_rate": 16000, "normalize": False},
        "model_weight": weights,
        "dictionaries_symbols": [["0"]],
    }
    sizes = QuantizerSizes(**QUANTIZER_CFG)
    return model, {"model_cfg": dict(QUANTIZER_CFG), "model_weight": make_quantizer_state(sizes)}


def write_official(directory: Path, model: Any, quantizer: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    torch.save(model, directory / "mhubert_base_25hz.pt")
    torch.save(quantizer, directory / "L11_quantizer_500.pt")
    return directory


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """How the fixtures were made, for tests that make their own."""
    return SimpleNamespace(
        SIZES=SIZES,
        MODEL_CFG=MODEL_CFG,
        QUANTIZER_CFG=QUANTIZER_CFG,
        make_hubert=make_hubert,
        make_quantizer_state=make_quantizer_state,
        official_content=official_content,
        write_official=write_official,
    )


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official(tmp_path_factory.mktemp("official"), *official_content())


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face directory with its preprocessor."""
    path = tmp_path_factory.mktemp("pretrained")
    make_hubert().save_pretrained(path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def codebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codebook") / "centroids.npy"
    np.save(path, np.random.default_rng(0).normal(0, 1, (30, 48)))
    return path
