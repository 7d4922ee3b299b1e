"""The whole road on a thimble: every stage runs and the report holds the figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.cli import main
from stlm.config.build import build_component
from stlm.config.hydra import load_config
from stlm.config.schema import DemoConfig
from stlm.demo import corpus, samples
from stlm.demo.corpus import recordings
from stlm.demo.pipeline import Clock
from stlm.errors import DataError
from stlm.plugin import Registry
from stlm.testing.plugin import fake_registry
from stlm.types import Audio

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


def record(data: Path, num: int, *, with_words: bool = False, with_text: bool = True) -> Path:
    """A folder of spoken sentences."""
    data.mkdir()
    source = build_component("source", {"name": "windtunnel", "num": num, "kind": "sentences"})
    rows = []
    for index, utterance in enumerate(source.utterances()):
        utterance.audio.save(data / f"{index:02d}.wav")
        rate = utterance.audio.sample_rate
        words = [{"word": w.text, "start": w.start / rate, "end": w.end / rate} for w in utterance.words]
        row = {"audio": f"{index:02d}.wav", "text": utterance.text if with_text else None}
        rows.append({**row, "words": words} if with_words else row)
    (data / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return data


@pytest.mark.parametrize("with_words", [True, False], ids=["word times", "no word times"])
def test_the_road_through_a_folder_of_recordings(tmp_path: Path, with_words: bool) -> None:
    data = record(tmp_path / "data", 40, with_words=with_words)
    out = tmp_path / "out"
    options = [*SMALL, "bpe_recipe.vocab_size=300"]
    assert main(["demo", "--data", str(data), "--out", str(out), "--minutes", "0.3", *options]) == 0
    results = json.loads((out / "results.json").read_text())
    notes = " ".join(results["notes"])
    assert "no accuracy is promised" in notes
    assert ("No word times were found" in notes) is not with_words
    assert ("S->T" in results["cloze"]["interleaved"]) is with_words


def test_bad_files_and_failing_stages_do_not_cost_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One held-out file holds NaN, one to learn from is cut off, one is too short; of seven, two are held out."""
    data = record(tmp_path / "data", 10)
    broken, cut, brief = data / "00.wav", data / "03.wav", data / "05.wav"
    soundfile.write(broken, np.array([0.1, np.nan] * 8000), 16000, subtype="FLOAT")
    cut.write_bytes(cut.read_bytes()[:4000])
    Audio(samples=np.zeros(300, np.float32), sample_rate=16000).save(brief)

    def fail(*arguments: object) -> None:
        raise DataError("nobody listens")

    monkeypatch.setattr(samples, "recognition", fail)
    out = tmp_path / "out"
    options = [*SMALL, "bpe_recipe.vocab_size=300"]
    assert main(["demo", "--data", str(data), "--out", str(out), "--minutes", "0.1", *options]) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["notes"][0] == "Recognition could not be done: nobody listens"
    assert any("3 inputs could not be used and 0 were used in part" in note for note in results["notes"])
    listed = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert {item["uri"] for item in listed} == {str(broken), str(cut), str(brief)}
    assert results["cloze"]["interleaved"]["T->T"]["n"] == 1
    assert (out / "report.html").exists()


@pytest.mark.parametrize(
    ("num", "with_text", "reason"),
    [(2, True, "2 usable recordings, the demo needs at least 3"), (6, False, "none of the 4 recordings to learn from")],
)
def test_a_folder_that_is_too_small_is_refused_before_any_work(
    tmp_path: Path, num: int, with_text: bool, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = record(tmp_path / "data", num, with_text=with_text)
    assert main(["demo", "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_the_report_is_written_before_a_defect_of_ours_is_raised() -> None:
    clock = Clock()
    with clock.attempt("Samples"):
        raise ZeroDivisionError
    with clock.attempt("Evaluation"):
        raise DataError("no items")
    assert clock.notes == ["Samples could not be done: ZeroDivisionError", "Evaluation could not be done: no items"]
    assert isinstance(clock.defect, ZeroDivisionError)


def test_the_note_about_word_times_names_the_aligners_that_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = record(tmp_path / "data", 4)
    config = load_config("demo_real", DemoConfig, [f"data={data}"])
    monkeypatch.setattr(corpus, "default_registry", lambda: Registry([]))
    assert "can make them, and none is installed." in " ".join(recordings(config).notes)
    registry = fake_registry()
    monkeypatch.setattr(corpus, "default_registry", lambda: registry)
    assert "stlm-fakes/even" in " ".join(recordings(config).notes)
