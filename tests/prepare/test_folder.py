"""A folder of recordings: what is used, what is noted, what is refused. Nothing in it ends the run."""

import json
import re
from pathlib import Path

import pytest

from stlm.errors import ConfigError, DataError
from stlm.prepare.folder import Config, FolderSource, build
from stlm.testing.contracts import SourceContract
from stlm.types import AudioRef, Rejected, Utterance


def sort(source: FolderSource) -> tuple[dict[str, Utterance], dict[str, Rejected]]:
    items = list(source.utterances())
    return (
        {item.id: item for item in items if isinstance(item, Utterance)},
        {item.id: item for item in items if isinstance(item, Rejected)},
    )


def manifest(folder: Path, *rows: object) -> FolderSource:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return FolderSource(folder)


class TestFolderOfText(SourceContract):
    component = "folder"

    @pytest.fixture
    def source(self, tmp_path, record):
        for index in range(5):
            path = record(tmp_path / "speakers" / f"s{index}.wav", seed=index)
            if index != 3:
                path.with_suffix(".txt").write_text(f"sentence number {index}\n")
        (tmp_path / "broken.wav").write_bytes(b"RIFF but no more")
        return FolderSource(tmp_path)


class TestFolderWithManifest(SourceContract):
    @pytest.fixture
    def source(self, tmp_path, record):
        rows = [{"audio": record(tmp_path / f"{n}.wav").name, "text": f"one {n}", "id": f"u{n}"} for n in range(4)]
        return manifest(tmp_path, *rows, "not json")


def test_audio_goes_with_the_text_beside_it(tmp_path: Path, record) -> None:
    record(tmp_path / "a" / "one.wav", 0.25).with_suffix(".txt").write_text("  Hello there. \n")
    record(tmp_path / "b.flac").with_suffix(".txt").write_text("Other")
    (tmp_path / "notes.txt").write_text("no audio beside me")
    used, rejected = sort(FolderSource(tmp_path))
    assert set(used) == {"a/one", "b"} and not rejected
    one = used["a/one"]
    assert one.text == "Hello there." and one.words == ()
    assert one.audio == AudioRef(uri=str(tmp_path / "a" / "one.wav"), sample_rate=16000, num_samples=4000)


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_a_missing_transcript_is_noted_and_the_speech_kept(tmp_path: Path, record, text: str | None) -> None:
    path = record(tmp_path / "a.wav")
    if text is not None:
        path.with_suffix(".txt").write_text(text)
    used, rejected = sort(FolderSource(tmp_path))
    assert used["a"].text is None
    assert rejected["a"].kept_as == "speech without text"
    assert "expected a.txt beside it" in rejected["a"].reason and rejected["a"].uri == str(path)


def test_files_that_are_no_audio_are_listed(tmp_path: Path, record) -> None:
    record(tmp_path / "good.wav").with_suffix(".txt").write_text("x")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("this is not sound")
    (tmp_path / "dir.wav").mkdir()
    used, rejected = sort(FolderSource(tmp_path))
    assert set(used) == {"good"} and set(rejected) == {"empty", "text", "dir"}
    assert all(item.kept_as is None and item.uri for item in rejected.values())
    assert "0 bytes" in rejected["empty"].reason and "cannot be read as audio" in rejected["text"].reason


def test_two_files_of_one_name_are_two_utterances(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav", 0.2)
    record(tmp_path / "a.flac", 0.3)
    (tmp_path / "a.txt").write_text("same words")
    ids = [item.id for item in FolderSource(tmp_path).utterances()]
    assert len(set(ids)) == 2


def test_a_manifest_gives_text_speaker_labels_and_words(tmp_path: Path, record) -> None:
    record(tmp_path / "wavs" / "a.wav", 1.0)
    row = {
        "audio": "wavs/a.wav",
        "text": "Hello, World!",
        "id": "utt-1",
        "speaker": 12,
        "emotion": "happy",
        "words": [
            {"word": "hello", "start": 0.1, "end": 0.4},
            {"word": "world", "start": 0.5, "end": 0.9, "score": 0.8},
        ],
    }
    used, rejected = sort(manifest(tmp_path, row))
    found = used["utt-1"]
    assert not rejected
    assert found.speaker == "12" and dict(found.labels) == {"emotion": "happy"}
    assert [(word.text, word.start, word.end, word.score) for word in found.words] == [
        ("Hello", 1600, 6400, None),
        ("World", 8000, 14400, 0.8),
    ]
    assert [(found.text or "")[word.char_start : word.char_end] for word in found.words] == ["Hello", "World"]


def test_rows_need_only_their_audio(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav")
    used, rejected = sort(manifest(tmp_path, {"audio": "a.wav"}, ""))
    assert used["a"].text is None and rejected["a"].kept_as == "speech without text"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "line 2 is not a JSON object"),
        ("[1, 2]", "line 2 is not a JSON object"),
        ("{}", "'audio'"),
        ({"audio": 5}, "line 2 is not a JSON object"),
        ({"audio": None}, "line 2 is not a JSON object"),
        ({"audio": "a.wav", "text": 5}, "line 2.*text"),
        ({"audio": "missing.wav", "text": "x"}, "no such file"),
    ],
)
def test_a_row_that_cannot_be_used_is_listed_and_the_others_go_on(
    tmp_path: Path, record, row: object, reason: str
) -> None:
    record(tmp_path / "a.wav")
    used, rejected = sort(manifest(tmp_path, {"audio": "a.wav", "text": "fine", "id": "fine"}, row))
    assert set(used) == {"fine"}
    (item,) = rejected.values()
    assert item.kept_as is None
    assert re.search(reason, item.reason), item.reason


def words(*entries: tuple[str, float, float]) -> list[dict]:
    return [{"word": word, "start": start, "end": end} for word, start, end in entries]


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (words(("one", 0.0, 0.3), ("two", 0.2, 0.4)), "before the previous word ends"),
        (words(("one", 0.0, 0.3), ("two", 0.3, 0.9)), "expected an interval within"),
        (words(("two", 0.0, 0.3), ("one", 0.3, 0.4)), "does not occur in the text after"),
        (words(("three", 0.0, 0.3)), "'three'.*does not occur"),
        ([{"word": "one", "start": 0.0}], r"words\[0\] needs word, start and end"),
        ([{"word": "one", "start": "soon", "end": 1}], r"words\[0\] needs"),
        ([{"word": "one", "start": float("nan"), "end": 0.1}], r"words\[0\] needs"),
        ([{"word": "one", "start": 0.0, "end": float("inf")}], r"words\[0\] needs"),
        ([{"word": "one", "start": 0.0, "end": 0.1, "score": "high"}], r"words\[0\] needs"),
        (["one", "two"], r"words\[0\] needs"),
        (7, "words"),
        (words(("one", -0.1, 0.3)), "before the previous word ends"),
    ],
)
def test_word_times_that_cannot_be_used_are_noted_and_the_utterance_kept(
    tmp_path: Path, record, times: object, reason: str
) -> None:
    record(tmp_path / "a.wav", 0.5)
    used, rejected = sort(manifest(tmp_path, {"audio": "a.wav", "text": "One two", "words": times}))
    assert used["a"].text == "One two" and used["a"].words == ()
    assert rejected["a"].kept_as == "utterance without word times"
    assert re.search(reason, rejected["a"].reason), rejected["a"].reason


def test_times_that_miss_by_the_rounding_of_an_aligner_are_clipped(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav", 0.5)
    row = {"audio": "a.wav", "text": "One two", "words": words(("one", 0.1, 0.3), ("two", 0.29, 0.52))}
    used, rejected = sort(manifest(tmp_path, row))
    assert [(word.start, word.end) for word in used["a"].words] == [(1600, 4800), (4800, 8000)]
    assert not rejected
    row["words"] = words(("one", 0.1, 0.3), ("two", 0.3, 0.53))
    used, rejected = sort(manifest(tmp_path, row))
    assert used["a"].words == () and "expected an interval within" in rejected["a"].reason


def test_letters_that_grow_in_lower_case_do_not_shift_the_words(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav", 0.5)
    row = {"audio": "a.wav", "text": "İİ one", "words": words(("one", 0.1, 0.2))}
    used, _ = sort(manifest(tmp_path, row))
    assert [word.text for word in used["a"].words] == ["one"]


def test_a_share_is_held_out_and_the_rest_trained_on(tmp_path: Path, record) -> None:
    for index in range(12):
        record(tmp_path / f"{index:02d}.wav")
    train, test, everything = (
        {item.id for item in FolderSource(tmp_path, part=part, parts=5).utterances() if isinstance(item, Utterance)}
        for part in ("train", "test", "all")
    )
    assert test == {"00", "05", "10"} and train == everything - test and len(everything) == 12


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no recording .*\(.wav, .flac.*or a manifest.jsonl"):
        FolderSource(tmp_path)
    with pytest.raises(ConfigError, match="'all', 'train' or 'test', got 'dev'"):
        FolderSource(tmp_path, part="dev")
    with pytest.raises(ConfigError, match="needs path"):
        build(Config())


def test_a_transcript_that_is_no_utf8_is_noted_and_not_guessed(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav").with_suffix(".txt").write_bytes("café".encode("latin1"))
    record(tmp_path / "b.wav").with_suffix(".txt").mkdir()
    record(tmp_path / "c.wav").with_suffix(".txt").write_bytes("\ufeffcafé".encode())
    used, rejected = sort(FolderSource(tmp_path))
    assert {name: item.text for name, item in used.items()} == {"a": None, "b": None, "c": "café"}
    assert {item.kept_as for item in rejected.values()} == {"speech without text"}
    assert "a.txt is no UTF-8 (byte 3 is 0xe9)" in rejected["a"].reason
    assert "b.txt cannot be read" in rejected["b"].reason


def test_a_manifest_may_begin_with_a_byte_order_mark_and_hold_a_bad_line(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav")
    lines = [b'\xef\xbb\xbf{"audio": "a.wav", "id": "one", "text": "x\xe2\x80\xa8y"}', b'{"audio": "caf\xe9.wav"}']
    (tmp_path / "manifest.jsonl").write_bytes(b"\r\n".join([*lines, b'{"audio": "a.wav", "id": "three"}']))
    used, rejected = sort(FolderSource(tmp_path))
    assert set(used) == {"one", "three"} and used["one"].text == "x\u2028y"
    assert "line 2 is not a JSON object" in rejected["manifest.jsonl:2"].reason


def test_a_manifest_that_cannot_be_read_says_so(tmp_path: Path, record) -> None:
    record(tmp_path / "a.wav")
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(DataError, match=r"manifest.jsonl: cannot be read \(Is a directory\)"):
        FolderSource(tmp_path)


def test_files_can_be_passed_over_before_a_share_is_held_out(tmp_path: Path, record) -> None:
    paths = [str(record(tmp_path / f"{index}.wav")) for index in range(4)]
    source = FolderSource(tmp_path, part="test", parts=2, skip=[paths[0]])
    assert [item.id for item in source.utterances() if isinstance(item, Utterance)] == ["1", "3"]
    with pytest.raises(ConfigError, match="parts must be 1 or more, got 0"):
        FolderSource(tmp_path, parts=0)


def test_the_fingerprint_follows_the_files_of_a_shard(tmp_path: Path, record) -> None:
    paths = [record(tmp_path / f"{index}.wav") for index in range(4)]

    def shards() -> list[str]:
        return [FolderSource(tmp_path).fingerprint(shard, 2) for shard in range(2)]

    first = shards()
    assert shards() == first and first[0] != first[1]
    paths[2].with_suffix(".txt").write_text("new words")
    second = shards()
    assert second[0] != first[0] and second[1] == first[1]
    record(paths[3], 0.7)
    third = shards()
    assert third[0] == second[0] and third[1] != second[1]
    record(tmp_path / "4.wav")
    assert shards()[0] != third[0]
