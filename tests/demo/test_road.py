"""The whole road on a thimble: every stage runs and the report holds the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stlm.cli import main
from stlm.config.build import build_component

SMALL = [
    "backbone.hidden_size=32", "backbone.num_heads=2", "backbone.num_layers=1", "backbone.intermediate_size=64",
    "trainer.max_steps=6", "feed.rows=2", "num_recognised=2", "num_samples=1", "group_size=4",
    "unit_recipe_utterances=8", "unit_recipe.num_units=16",
]  # fmt: skip
WORLD = [
    "speech_stories=24", "text_stories=60", "tuning_sentences=24", "bpe_recipe.vocab_size=400",
    "tasks.cloze.num_pairs=2", "tasks.lexical.num_pairs=2", "tasks.syntactic.num_pairs=2",
]  # fmt: skip
DIRECTIONS = {"T->T", "T->S", "S->T", "S->S"}


def test_the_road_through_the_world_ends_in_a_report(tmp_path: Path) -> None:
    assert main(["demo", "--out", str(tmp_path), "--minutes", "0.3", *SMALL, *WORLD]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["cloze"]) == {"interleaved", "no_interleaving"}
    for row in results["cloze"].values():
        assert set(row) == DIRECTIONS
        assert all(cell["n"] == 2 and len(cell["ci95"]) == 2 for cell in row.values())
    assert set(results["recognition"]) == {"asr", "tts"}
    page = (tmp_path / "report.html").read_text()
    assert "<audio" in page or "data:audio" in page
    assert results["details"]["fits"]["no_interleaving"]["steps"] == results["details"]["fits"]["interleaved"]["steps"]


@pytest.mark.parametrize("with_words", [True, False], ids=["word times", "no word times"])
def test_the_road_through_a_folder_of_recordings(tmp_path: Path, with_words: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    source = build_component("source", {"name": "windtunnel", "num": 40, "kind": "sentences"})
    rows = []
    for index, utterance in enumerate(source.utterances()):
        utterance.audio.save(data / f"{index:02d}.wav")
        rate = utterance.audio.sample_rate
        words = [{"word": w.text, "start": w.start / rate, "end": w.end / rate} for w in utterance.words]
        row = {"audio": f"{index:02d}.wav", "text": utterance.text}
        rows.append({**row, "words": words} if with_words else row)
    (data / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    out = tmp_path / "out"
    options = [*SMALL, "bpe_recipe.vocab_size=300"]
    assert main(["demo", "--data", str(data), "--out", str(out), "--minutes", "0.3", *options]) == 0
    results = json.loads((out / "results.json").read_text())
    notes = " ".join(results["notes"])
    assert "no accuracy is promised" in notes
    assert ("No word times were found" in notes) is not with_words
    assert ("S->T" in results["cloze"]["interleaved"]) is with_words
