"""A small system of real plugins, which the tests of several verbs build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.config.run import run_recipe


@pytest.fixture(scope="session")
def system_overrides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of ``train.yaml`` for a tiny system with log-mel units, BPE and a vocoder, whose parts are trained."""
    root: Path = tmp_path_factory.mktemp("parts")
    source = {"name": "windtunnel", "num": 12, "kind": "sentences"}
    run_recipe({"name": "logmel_kmeans", "num_units": 20}, source, root / "units")
    run_recipe({"name": "bpe", "vocab_size": 400}, {**source, "modality": "text", "num": 200}, root / "text")
    return [
        f"text_encoder={{name: sentencepiece, path: '{root / 'text'}'}}",
        f"unit_encoders={{logmel: {{name: logmel, path: '{root / 'units'}'}}}}",
        f"vocoder={{name: griffinlim, path: '{root / 'units'}'}}",
        "backbone.hidden_size=16",
        "backbone.num_heads=2",
        "backbone.num_layers=1",
        "backbone.intermediate_size=32",
    ]
