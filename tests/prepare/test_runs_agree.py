"""Units depend on the sound alone: not on batch mates, workers, shards, readers or the order of the corpus."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel

from stlm.config.run import run_recipe
from stlm.plugin import Choice
from stlm.prepare import Limits, LocalRunner, ShardTask, prepare
from stlm.store import ShardSet


def encoders(root: Path, corpus: Path) -> tuple[Choice, ...]:
    """Two streams: cepstra, and a small HuBERT with random weights whose front end normalises over the whole sound."""
    run_recipe({"name": "logmel_kmeans", "num_units": 20}, {"name": "folder", "path": str(corpus)}, root / "logmel")
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=[32] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    HubertModel(config).save_pretrained(root / "hubert")
    np.save(root / "centroids.npy", np.random.default_rng(0).normal(size=(50, 48)).astype(np.float32))
    hubert = {
        "path": str(root / "hubert"),
        "codebook": str(root / "centroids.npy"),
        "layer": 2,
        "normalize": False,
    }
    return (Choice(name="logmel", options={"path": str(root / "logmel")}), Choice(name="hubert", options=hubert))


@pytest.mark.slow
def test_three_runs_give_the_same_units(tmp_path: Path, record) -> None:
    corpus = tmp_path / "corpus"
    lengths = np.random.default_rng(1).uniform(0.1, 3.0, 40)
    rows = []
    for index, seconds in enumerate(lengths):
        record(corpus / f"{index}.wav", float(seconds), seed=index)
        rows.append(json.dumps({"audio": f"{index}.wav", "id": str(index), "text": f"number {index}"}))
    runs = {
        "one by one": (rows, 1, LocalRunner(1), Limits(utterances=1)),
        "two workers": (rows, 5, LocalRunner(2), Limits(utterances=16)),
        "backwards": (rows[::-1], 3, LocalRunner(1), Limits(utterances=7, seconds=4.0, readers=3)),
    }
    found = {}
    chosen = encoders(tmp_path, corpus)
    for name, (manifest, num_shards, runner, limits) in runs.items():
        (corpus / "manifest.jsonl").write_text("\n".join(manifest))
        task = ShardTask(
            source=Choice(name="folder", options={"path": str(corpus)}),
            encoders=chosen,
            out=tmp_path / name,
            shard=0,
            num_shards=num_shards,
            limits=limits,
        )
        prepare(task, runner)
        found[name] = {
            item.id: {stream: units.codes.tolist() for stream, units in item.streams.items()}
            for item in ShardSet(tmp_path / name)
        }
    assert len(found["one by one"]) == 40
    assert found["two workers"] == found["one by one"] == found["backwards"]
