"""A tiny wav2vec2 classifier with random weights, as a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

NUM_LABELS = 12


@pytest.fixture(scope="session")
def model() -> Wav2Vec2ForSequenceClassification:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=[32] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        num_labels=NUM_LABELS,
    )
    model = Wav2Vec2ForSequenceClassification(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "conv_layers" in name and name.endswith("conv.weight"):
            torch.nn.init.normal_(parameter, std=2.0 / parameter[0].numel() ** 0.5)
    torch.nn.init.normal_(model.projector.weight)
    torch.nn.init.normal_(model.classifier.weight)
    return model


@pytest.fixture(scope="session")
def classifier_path(model: Wav2Vec2ForSequenceClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier")
    model.save_pretrained(path)
    return path
