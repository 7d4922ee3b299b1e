"""The judge of style says what transformers says, and knows the labels of what the recipe trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2ForSequenceClassification

from stlm.errors import ConfigError, FormatError
from stlm.types import Audio
from stlm_style import judge
from stlm_style.recipe import LABELS, Config, StyleUnitsRecipe

from .test_recipe import SMALL, corpus


def load(path: Path) -> judge.StyleJudge:
    return judge.build(judge.Config(path=str(path)))


def test_it_agrees_with_transformers(classifier_path: Path) -> None:
    model = Wav2Vec2ForSequenceClassification.from_pretrained(classifier_path).eval()
    rng = np.random.default_rng(0)
    for seconds in (0.3, 1.0, 2.5):
        samples = (0.1 * rng.standard_normal(int(16000 * seconds))).astype(np.float32)
        normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
        with torch.no_grad():
            wanted = int(model(torch.from_numpy(normal)[None]).logits.argmax())
        assert load(classifier_path).classify([Audio(samples=samples, sample_rate=16000)]) == [
            model.config.id2label[wanted]
        ]


def test_what_the_recipe_trains_knows_its_labels(tmp_path: Path) -> None:
    StyleUnitsRecipe(Config(**{**SMALL, "max_steps": 2})).train(corpus(2), tmp_path)
    known = {item.labels["style"] for item in corpus(2)}
    assert set(load(tmp_path / LABELS).labels) == known


def test_labels_that_are_none_are_one_clear_line(classifier_path: Path, tmp_path: Path) -> None:
    for file in classifier_path.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "2": "b"}}))
    with pytest.raises(FormatError, match="expected a name for each class from 0"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="set path to the directory"):
        judge.build(judge.Config())
