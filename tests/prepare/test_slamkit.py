"""SlamKit's features: runs become frames again, words get their places, bad rows are listed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stlm.errors import ConfigError, DataError
from stlm.prepare.slamkit import Config, SlamKit
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance

ROW = {"units": [3, 49, 7], "duration": [2, 1, 22], "file_name": "audio/a.flac"}
ALIGNED = [
    {"word": "Hello,", "start_time": 0.0, "end_time": 0.4, "split_sentence": False},
    {"word": "World!", "start_time": 0.4, "end_time": 1.03, "split_sentence": True},
]


def source(path: Path, **options: Any) -> SlamKit:
    return SlamKit(Config(path=str(path), **{"fingerprint": "mhubert-25hz-l11-km500", **options}))


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


class TestSlamKit(SourceContract):
    component = "slamkit"

    @pytest.fixture
    def source(self, tmp_path: Path) -> SlamKit:
        write(tmp_path / "a.jsonl", ROW, "", {**ROW, "aligned_text": ALIGNED}, "broken")
        (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode()))
        return source(tmp_path)


def test_runs_become_frames_on_the_clock_of_the_sound(tmp_path: Path) -> None:
    corpus = source(write(tmp_path / "a.jsonl", ROW))
    (found,) = corpus.utterances()
    assert isinstance(found, Utterance) and found.id == "a.jsonl:1" and found.text is None
    units, spec = found.streams["hubert"], corpus.streams()["hubert"]
    assert units.codes[:, 0].tolist() == [3, 3, 49] + [7] * 22 and units.spec == spec
    assert spec.frame_rate_hz == 25 and spec.codebook_sizes == (500,)
    assert found.audio.uri == "audio/a.flac" and found.audio.seconds == 1.0
    assert spec.num_frames(found.audio.num_samples) == len(units)


def test_aligned_text_is_text_and_words(tmp_path: Path) -> None:
    (found,) = source(write(tmp_path / "a.jsonl", {**ROW, "aligned_text": ALIGNED})).utterances()
    assert isinstance(found, Utterance) and found.text == "Hello, World!"
    # the sound goes on for 30 ms after the last whole frame
    assert [(word.text, word.start, word.end) for word in found.words] == [("Hello", 0, 6400), ("World", 6400, 16000)]
    assert [units.codes[:, 0].tolist() for units in found.slice(0, 1).values()] == [[3, 3, 49] + [7] * 7]


def test_two_inventories_are_two_streams(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROW)
    options = ({}, {"fingerprint": "other"}, {"num_units": 1000}, {"frame_rate_hz": 50.0})
    specs = [source(path, **chosen).spec for chosen in options]
    assert len({spec.fingerprint for spec in specs}) == 4
    assert source(path, stream="mhubert").streams().keys() == {"mhubert"}
    assert source(path).spec == specs[0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("no json", "JSONDecodeError"),
        ([1], "no row of SlamKit's features"),
        ({"audio_repr": "<Un3><Un4>"}, "KeyError: 'units'"),
        ({"units": [1, 2]}, "KeyError: 'duration'"),
        ({"units": [1, 2], "duration": [1]}, "2 units and 1 durations"),
        ({"units": [], "duration": []}, "0 units"),
        ({"units": [1], "duration": [0]}, "durations of 1 or more"),
        ({"units": [1], "duration": [1.5]}, "whole numbers"),
        ({"units": [500], "duration": [1]}, "code 500 is outside 0..499"),
        ({"units": [[1, 2]], "duration": [[1, 1]]}, "expected as many of both"),
        ({**ROW, "aligned_text": [{"word": "a"}]}, "KeyError: 'end_time'"),
    ],
)
def test_a_row_that_cannot_be_used_is_listed_and_the_others_arrive(tmp_path: Path, row: object, reason: str) -> None:
    items = list(source(write(tmp_path / "a.jsonl", ROW, row, ROW)).utterances())
    assert [(type(item).__name__, item.id) for item in items] == [
        ("Utterance", "a.jsonl:1"),
        ("Rejected", "a.jsonl:2"),
        ("Utterance", "a.jsonl:3"),
    ]
    assert isinstance(items[1], Rejected) and reason in items[1].reason and items[1].kept_as is None


def test_wrong_word_times_cost_only_the_words(tmp_path: Path) -> None:
    late = [{"word": "late", "start_time": 3.0, "end_time": 4.0}]
    note, found = source(write(tmp_path / "a.jsonl", {**ROW, "aligned_text": late})).utterances()
    assert isinstance(note, Rejected) and note.kept_as == "utterance without word times"
    assert isinstance(found, Utterance) and found.text == "late" and found.words == () and found.has_speech


def test_a_file_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    rows = b"".join(json.dumps({**ROW, "file_name": f"{number}.wav"}).encode() + b"\n" for number in range(2000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows)[:-200])
    items = list(source(tmp_path / "a.jsonl.gz").utterances())
    assert len(items) > 100 and [isinstance(item, Utterance) for item in items[:-1]] == [True] * (len(items) - 1)
    assert isinstance(items[-1], Rejected) and "cannot be read further" in items[-1].reason


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    for options, message in (
        ({"path": ""}, "needs path"),
        ({"fingerprint": ""}, "needs fingerprint"),
        ({"num_units": 0}, "must be positive, got 0"),
        ({"frame_rate_hz": 30.0}, "must divide 16000 Hz, got 30"),
    ):
        with pytest.raises(ConfigError, match=message):
            SlamKit(Config(**{"path": str(tmp_path), "fingerprint": "x", **options}))
    with pytest.raises(DataError, match="expected features"):
        source(tmp_path)
