"""Samples in tars: each once however parts are dealt, audio where it lies, and what a broken tar still holds."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from stlm.audio import read_audio, tar_index
from stlm.errors import ConfigError, DataError
from stlm.prepare.webdataset import Config, WebDataset
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance


@pytest.fixture
def sound(tmp_path: Path, record):
    """``sound(suffix, seed)`` is the content of a short recording."""

    def run(suffix: str = ".wav", seed: int = 0) -> bytes:
        return record(tmp_path / f"sound{suffix}", 0.25, seed).read_bytes()

    return run


def pack(path: Path, files: Mapping[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def corpus(root: Path, sound) -> Path:
    """Three tars of four samples whose keys are the same in each."""
    for number in range(3):
        files = {}
        for key in range(4):
            files |= {f"{key:03d}.flac": sound(".flac", seed=key), f"{key:03d}.txt": f"tar {number} sample {key}\n"}
        pack(root / f"train-{number}.tar", files)
    return root


def read(path: Path | str, **options: str) -> tuple[dict[str, Utterance], dict[str, Rejected]]:
    items = list(WebDataset(Config(path=str(path), **options)).utterances())
    return (
        {item.id: item for item in items if isinstance(item, Utterance)},
        {item.id: item for item in items if isinstance(item, Rejected)},
    )


class TestWebDataset(SourceContract):
    component = "webdataset"

    @pytest.fixture
    def source(self, tmp_path: Path, sound) -> WebDataset:
        path = corpus(tmp_path / "tars", sound)
        broken = path / "train-1.tar"
        broken.write_bytes(broken.read_bytes()[: tar_index(broken).files["002.flac"][0] + 100])
        return WebDataset(Config(path=str(path)))


def test_the_same_key_in_two_tars_is_two_samples(tmp_path: Path, sound) -> None:
    path = corpus(tmp_path / "tars", sound)
    used, rejected = read(path)
    assert not rejected and len(used) == 12 and used["train-2/003"].text == "tar 2 sample 3"
    audio = used["train-2/003"].audio
    assert audio.uri == f"tar://003.flac::{path}/train-2.tar" and audio.num_samples == 4000
    (tmp_path / "beside.flac").write_bytes(sound(".flac", seed=3))
    np.testing.assert_array_equal(read_audio(audio).samples, read_audio(tmp_path / "beside.flac").samples)
    assert set(read(f"{path}/train-[01].tar")[0]) == {id for id in used if not id.startswith("train-2")}


@pytest.mark.parametrize("num_shards", [2, 3, 5, 8])
def test_a_part_reads_few_tars(tmp_path: Path, sound, num_shards: int) -> None:
    source = WebDataset(Config(path=str(corpus(tmp_path / "tars", sound))))
    parts = [[item.id for item in source.utterances(shard, num_shards)] for shard in range(num_shards)]
    assert sorted(id for part in parts for id in part) == sorted(read(tmp_path / "tars")[0])
    tars = [{id.split("/")[0] for id in part} for part in parts]
    assert max(map(len, tars)) == max(1, -(-3 // num_shards))


def test_json_tells_text_speaker_labels_and_words(tmp_path: Path, sound) -> None:
    words = [{"word": "hello", "start": 0.05, "end": 0.1}, {"word": "world", "start": 0.1, "end": 0.2, "score": 0.5}]
    row = {
        "transcript": "Hello, World!",
        "who": 7,
        "style": "happy",
        "words": words,
        "broken": "not for us",
        "dnsmos": 3,
    }
    files = {
        "a/x.y.wav": sound(),
        "a/x.json": json.dumps(row),
        "a/x.cls": "3",
        ".hidden.wav": b"",
        "a/only.txt": "text",
    }
    used, rejected = read(pack(tmp_path / "a.tar", files), text="transcript", speaker="who")
    found = used["a/a/x"]
    assert not rejected and set(used) == {"a/a/x", "a/a/only"} and used["a/a/only"].audio is None
    assert (found.text, found.speaker, dict(found.labels)) == ("Hello, World!", "7", {"style": "happy"})
    assert [(word.text, word.start, word.end, word.score) for word in found.words] == [
        ("Hello", 800, 1600, None),
        ("World", 1600, 3200, 0.5),
    ]


def test_bad_samples_are_listed_and_the_others_arrive(tmp_path: Path, sound) -> None:
    files = {
        "good.wav": sound(),
        "good.txt": "fine",
        "noise.wav": b"RIFF but no more",
        "noise.txt": "x",
        "two.wav": sound(),
        "two.flac": sound(".flac"),
        "json.wav": sound(),
        "json.json": "[1]",
        "field.wav": sound(),
        "field.json": '{"text": 5}',
        "latin.wav": sound(),
        "latin.txt": "\xe4".encode("latin1"),
        "alone.wav": sound(),
        "none.json": "{}",
    }
    used, rejected = read(pack(tmp_path / "a.tar", files))
    reasons = {id.removeprefix("a/"): (item.kept_as, item.reason) for id, item in rejected.items()}
    assert set(used) == {f"a/{key}" for key in ("good", "json", "field", "latin", "alone")}
    assert {key for key, (kept, _) in reasons.items() if kept is None} == {"noise", "two", "none"}
    for key, part in {
        "noise": "cannot be read as audio",
        "two": "has the audio files two.wav, two.flac, expected one",
        "json": "json.json is '[1]', expected a JSON object",
        "field": "'text' is '5', expected a text",
        "latin": "latin.txt is no UTF-8 (byte 0 is 0xe4)",
        "alone": "no transcript: expected a .txt, or 'text' in a .json",
        "none": "no audio",
    }.items():
        assert part in reasons[key][1], key


def test_what_a_truncated_tar_still_holds_arrives(tmp_path: Path, sound) -> None:
    path = corpus(tmp_path / "tars", sound)
    tar = path / "train-1.tar"
    tar.write_bytes(tar.read_bytes()[: tar_index(tar).files["002.flac"][0] + 100])
    used, rejected = read(path)
    assert {id for id in used if id.startswith("train-1")} == {"train-1/000", "train-1/001"} and len(used) == 10
    assert "002.flac is cut off" in rejected["train-1/002"].reason
    assert "expected more files or the mark of its end" in rejected["train-1"].reason
    tar.write_bytes(b"\x1f\x8b not a tar")
    used, rejected = read(path)
    assert len(used) == 8 and "expected an uncompressed .tar file" in rejected["train-1"].reason


def test_a_changed_tar_changes_the_fingerprint_of_its_part(tmp_path: Path, sound) -> None:
    path = corpus(tmp_path / "tars", sound)
    source = WebDataset(Config(path=str(path)))
    before = [source.fingerprint(shard, 3) for shard in range(3)]
    pack(path / "train-1.tar", {"000.txt": "other"})
    assert [old == source.fingerprint(shard, 3) for shard, old in enumerate(before)] == [True, False, True]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere.tar", f"{tmp_path}/*.tar"):
        with pytest.raises(DataError, match=r"no \.tar file here"):
            WebDataset(Config(path=str(path)))
    with pytest.raises(ConfigError, match="needs path"):
        WebDataset(Config())
