"""Tiny networks with random weights in the layouts of the published ones, and sounds."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchaudio.models import wav2vec2_model
from transformers import (
    HubertConfig,
    HubertForCTC,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from stlm.types import Audio

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (10, 8, 4),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "initializer_range": 1.0,
    "feat_extract_norm": "layer",
}
MMS = {
    "extractor_mode": "layer_norm",
    "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 8, 8)],  # a hop of 320 and a reach of 365 samples
    "extractor_conv_bias": True,
    "encoder_embed_dim": 16,
    "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 1,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 16,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_norm_first": True,
    "encoder_layer_drop": 0.0,
    "aux_num_out": 28,
}
"""As torchaudio's MMS_FA, of other sizes."""


def make_noise(seconds: float, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds))
    return Audio(samples=samples.astype(np.float32), sample_rate=16000)


@pytest.fixture(scope="session")
def noise() -> Callable[..., Audio]:
    return make_noise


def letters_of(letters: str) -> dict[str, int]:
    return {name: index for index, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", "|", *letters])}


def save(directory: Path, model: torch.nn.Module, tokenizer: Wav2Vec2CTCTokenizer) -> Path:
    model.save_pretrained(directory)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=True), tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session", params=["wav2vec2", "hubert"])
def ctc_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Capital letters, and a blank that is not symbol 0."""
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "letters.json").write_text(json.dumps(letters_of(string.ascii_uppercase + "'")))
    tokenizer = Wav2Vec2CTCTokenizer(str(directory / "letters.json"))
    kinds = {"wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC), "hubert": (HubertConfig, HubertForCTC)}
    config, model = kinds[request.param]
    torch.manual_seed(0)
    return save(directory, model(config(vocab_size=len(tokenizer), pad_token_id=1, **SIZES)), tokenizer)


@pytest.fixture(scope="session")
def languages_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, each with letters and an adapter of its own."""
    directory = tmp_path_factory.mktemp("languages")
    (directory / "letters.json").write_text(json.dumps({"eng": letters_of("abc"), "deu": letters_of("xyzäö")}))
    tokenizer = Wav2Vec2CTCTokenizer(str(directory / "letters.json"), target_lang="eng")
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(tokenizer), pad_token_id=1, adapter_attn_dim=4, **SIZES))
    for language, size in (("eng", 8), ("deu", 10)):
        adapter = {name: 0.5 * torch.randn_like(value) for name, value in model._get_adapters().items()}
        adapter["lm_head.weight"], adapter["lm_head.bias"] = torch.randn(size, 16), torch.randn(size)
        save_file(adapter, directory / f"adapter.{language}.safetensors", metadata={"format": "pt"})
    return save(directory, model, tokenizer)


@pytest.fixture(scope="session")
def mms_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights as they are published, with the three outputs that torchaudio takes off."""
    directory = tmp_path_factory.mktemp("mms")
    torch.manual_seed(0)
    torch.save(wav2vec2_model(**{**MMS, "aux_num_out": 31}).state_dict(), directory / "model.pt")
    return directory


@pytest.fixture
def small_mms(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchaudio's MMS_FA in a small size."""
    from torchaudio import pipelines

    monkeypatch.setattr(pipelines.MMS_FA, "_params", MMS)
