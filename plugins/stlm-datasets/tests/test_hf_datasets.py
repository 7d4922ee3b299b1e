"""Hugging Face datasets: saved, in files and streamed, with speech or text alone, without decoding by the library."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stlm.errors import ConfigError, PluginError
from stlm.testing.contracts import SourceContract
from stlm.types import Audio, AudioRef, Rejected, Utterance
from stlm_datasets.hf_datasets import Config, HubSource

datasets = pytest.importorskip("datasets", reason="needs stlm-datasets[hf]")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def speech(tmp_path: Path, recording: Path, flac: bytes) -> Path:
    """Five rows, one without text and one with audio that is none."""
    file = {"bytes": None, "path": str(recording)}
    rows = {
        "audio": [file, {"bytes": flac, "path": "a.flac"}, {"bytes": b"RIFF?", "path": None}, None, file],
        "text": ["one", " Two, ", "three", "four", None],
        "speaker": [11, 12, 13, 14, 15],
        "style": [0, 1, 0, 1, 0],
        "key": list("abcde"),
        "file": [file] * 5,
        "name": [str(recording)] * 5,
    }
    table = datasets.Dataset.from_dict(rows)
    table = table.cast_column("audio", datasets.Audio())
    table = table.cast_column("style", datasets.ClassLabel(names=["calm", "happy"]))
    datasets.DatasetDict(train=table, test=table.select([0])).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    for part in range(3):
        rows = {"body": [f"text {part} {row}" for row in range(4)], "key": [f"{part}-{row}" for row in range(4)]}
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "texts" / f"train-{part}.parquet")
    return tmp_path / "texts"


def source(path: Path | str, **options: Any) -> HubSource:
    return HubSource(Config(path=str(path), **options))


class TestSaved(SourceContract):
    component = "hf_datasets"

    @pytest.fixture
    def source(self, speech: Path) -> HubSource:
        return source(speech, speaker="speaker", labels=("style",))


class TestStreamed(SourceContract):
    @pytest.fixture
    def source(self, texts: Path) -> HubSource:
        return source(texts, audio="", text="body", streaming=True)


class TestStreamedByFile(SourceContract):
    @pytest.fixture
    def source(self, texts: Path) -> HubSource:
        return source(texts, audio="", text="body", id="key", streaming=True)


@pytest.mark.parametrize("column", ["file", "name"])
def test_paths_become_references(speech: Path, recording: Path, column: str) -> None:
    (found,) = source(speech, audio=column, split="test").utterances()
    assert found.audio == AudioRef(uri=str(recording), sample_rate=8000, num_samples=8000)


def test_bytes_become_samples_and_bad_rows_are_listed(speech: Path, sides: np.ndarray) -> None:
    items = list(source(speech, speaker="speaker", id="key", labels=("style",)).utterances())
    used = {item.id: item for item in items if isinstance(item, Utterance)}
    rejected = {item.id: item for item in items if isinstance(item, Rejected)}
    assert set(used) == {"a", "b", "e"} and set(rejected) == {"c", "d", "e"}
    assert isinstance(used["b"].audio, Audio)
    np.testing.assert_allclose(used["b"].audio.samples, sides[:, 0], atol=2**-14)
    assert (used["b"].text, used["b"].speaker, dict(used["b"].labels)) == ("Two,", "12", {"style": "happy"})
    assert "c: cannot be read as audio" in rejected["c"].reason and rejected["c"].kept_as is None
    assert "d: the audio is 'None', expected a path or the bytes" in rejected["d"].reason
    assert used["e"].text is None and rejected["e"].kept_as == "speech without text"


def test_decoding_needs_no_torchcodec(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    assert sum(isinstance(item, Utterance) for item in source(speech).utterances()) == 3


def test_a_split_is_taken_by_its_name(speech: Path) -> None:
    (found,) = source(speech, split="test").utterances()
    assert found.id == "test:0"
    with pytest.raises(ConfigError, match="has the split 'dev'"):
        source(speech, split="dev")


@pytest.mark.parametrize("streaming", [False, True])
def test_text_alone(texts: Path, streaming: bool) -> None:
    found = list(source(texts, audio="", text="body", streaming=streaming).utterances())
    assert [item.text for item in found] == [f"text {part} {row}" for part in range(3) for row in range(4)]
    assert all(item.audio is None for item in found)


def test_a_stream_with_ids_is_dealt_by_file(texts: Path) -> None:
    corpus = source(texts, audio="", text="body", id="key", streaming=True)
    parts = [[item.id for item in corpus.utterances(shard, 3)] for shard in range(3)]
    assert parts == [[f"{part}-{row}" for row in range(4)] for part in range(3)]


def test_speech_alone_has_no_notes(speech: Path) -> None:
    items = list(source(speech, text="", split="test").utterances())
    assert [(item.id, item.text) for item in items] == [("test:0", None)]


def test_what_is_not_there_is_said(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column 'txt' \(did you mean 'text'\?\), expected one of audio, text"):
        source(speech, text="txt")
    with pytest.raises(ConfigError, match="cannot be loaded as a dataset"):
        (tmp_path / "empty").mkdir()
        source(tmp_path / "empty")
    with pytest.raises(ConfigError, match="needs path"):
        HubSource(Config())
    with pytest.raises(ConfigError, match="got neither"):
        source(speech, audio="", text="")


def test_a_missing_package_says_how_to_install_it(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PluginError, match=r"pip install 'stlm-datasets\[hf\]'"):
        source(speech)


def test_a_changed_dataset_has_another_fingerprint(speech: Path, texts: Path) -> None:
    before = source(speech).fingerprint()
    assert source(speech).fingerprint() == before != source(texts, audio="", text="body").fingerprint()
