"""Published corpora in the layout that their archives leave, made on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.config.build import build_component
from stlm.errors import ConfigError, DataError
from stlm.interfaces import Source
from stlm.prepare import corpora
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance


def librispeech(root: Path, record) -> Path:
    for split, speaker in (("dev-clean", 84), ("test-clean", 61)):
        folder = root / "LibriSpeech" / split / str(speaker) / "121"
        for number in range(2):
            record(folder / f"{speaker}-121-000{number}.flac", 0.4 + 0.1 * number)
        lines = [f"{speaker}-121-000{number} GO DO YOU HEAR" for number in range(2)]
        (folder / f"{speaker}-121.trans.txt").write_text("\n".join(lines))
    return root


def ljspeech(root: Path, record) -> Path:
    for number in (1, 2):
        record(root / "wavs" / f"LJ001-000{number}.wav")
    rows = ["LJ001-0001|In 1455, “Bibles”|In fourteen fifty-five, Bibles", "LJ001-0002|Dr. No|Doctor No"]
    (root / "metadata.csv").write_text("\n".join(rows) + "\n")
    return root


def mls(root: Path, record) -> Path:
    for split, suffix in (("train", ".flac"), ("dev", ".flac"), ("test", ".flac")):
        record(root / split / "audio" / "10" / "83" / f"10_83_000{len(split)}{suffix}")
        (root / split / "transcripts.txt").write_text(f"10_83_000{len(split)}\tein wort\n")
    return root


def common_voice(root: Path, record) -> Path:
    head = "client_id\tpath\tsentence\tup_votes\tgender\tlocale\n"
    for number in range(3):
        record(root / "clips" / f"cv_{number}.wav")
    rows = [f'abc{number}\tcv_{number}.wav\tSay "{number}.\t2\tfemale\ten\n' for number in range(3)]
    for name, chosen in (("validated", rows), ("train", rows[:2]), ("test", rows[2:])):
        (root / f"{name}.tsv").write_text(head + "".join(chosen))
    return root


def voxpopuli(root: Path, record) -> Path:
    root = root / "transcribed_data" / "en"
    head = "id\traw_text\tnormalized_text\tspeaker_id\tsplit\tgender\tis_gold_transcript\taccent\n"
    for split, texts in (("train", ("In 2017, “yes”.", "")), ("dev", ("No.",))):
        rows = []
        for number, text in enumerate(texts):
            id = f"201{number}0101-0900-PLENARY-3-en_{split}_{number}"
            record(root / id[:4] / f"{id}.ogg")
            rows.append(f"{id}\t{text}\tnormal text\t2810{number}\t{split}\tmale\tTrue\tNone\n")
        (root / f"asr_{split}.tsv").write_text(head + "".join(rows))
    return root


MAKERS = {
    "librispeech": librispeech,
    "ljspeech": ljspeech,
    "mls": mls,
    "common_voice": common_voice,
    "voxpopuli": voxpopuli,
}


def read(name: str, path: Path, **options: object) -> list[Utterance | Rejected]:
    return list(build_component("source", {"name": name, "path": str(path), **options}).utterances())


class TestLibriSpeech(SourceContract):
    component = "librispeech"

    @pytest.fixture
    def source(self, tmp_path: Path, record) -> Source:
        return corpora.librispeech(corpora.Config(path=str(librispeech(tmp_path, record))))


class TestVoxPopuli(SourceContract):
    component = "voxpopuli"

    @pytest.fixture
    def source(self, tmp_path: Path, record) -> Source:
        return corpora.voxpopuli(corpora.Config(path=str(voxpopuli(tmp_path, record))))


class TestCommonVoice(SourceContract):
    component = "common_voice"

    @pytest.fixture
    def source(self, tmp_path: Path, record) -> Source:
        return corpora.common_voice(corpora.Config(path=str(common_voice(tmp_path, record))))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("librispeech", [("84-121-0000", "GO DO YOU HEAR", "84"), ("84-121-0001", "GO DO YOU HEAR", "84")]),
        ("ljspeech", [("LJ001-0001", "In 1455, “Bibles”", "LJ"), ("LJ001-0002", "Dr. No", "LJ")]),
        ("mls", [("10_83_0005", "ein wort", "10"), ("10_83_0003", "ein wort", "10")]),
        ("common_voice", [("cv_0", 'Say "0.', "abc0"), ("cv_1", 'Say "1.', "abc1")]),
        (
            "voxpopuli",
            [
                ("20100101-0900-PLENARY-3-en_train_0", "In 2017, “yes”.", "28100"),
                ("20110101-0900-PLENARY-3-en_train_1", "normal text", "28101"),
            ],
        ),
    ],
)
def test_texts_and_speakers_are_as_published(name: str, expected: list, tmp_path: Path, record) -> None:
    found = read(name, MAKERS[name](tmp_path, record))
    assert not [item for item in found if isinstance(item, Rejected)]
    assert [(item.id, item.text, item.speaker) for item in found[:2]] == expected
    assert all(item.audio is not None and item.audio.seconds > 0.3 for item in found)


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("librispeech", "test-clean", 2), ("mls", "dev", 1), ("common_voice", "train", 2), ("voxpopuli", "dev", 1)],
)
def test_a_split_is_taken_by_its_name(name: str, split: str, count: int, tmp_path: Path, record) -> None:
    path = MAKERS[name](tmp_path, record)
    assert len(read(name, path, split=split)) == count
    with pytest.raises(DataError, match=rf"no split '{split}x' \(did you mean '{split}'\?\), expected one of"):
        read(name, path, split=f"{split}x")


def test_labels_and_capitals(tmp_path: Path, record) -> None:
    found = read("librispeech", librispeech(tmp_path / "a", record), lower=True)
    assert {item.text for item in found} == {"go do you hear"} and dict(found[0].labels) == {"language": "en"}
    found = read("common_voice", common_voice(tmp_path / "b", record))
    assert dict(found[0].labels) == {"gender": "female", "language": "en"}
    found = read("voxpopuli", voxpopuli(tmp_path / "c", record))
    assert dict(found[0].labels) == {"gender": "male", "language": "en"}


def test_librispeech_alignments_are_found_by_chapter(tmp_path: Path, record) -> None:
    path = librispeech(tmp_path, record)
    folder = tmp_path / "LibriSpeech-Alignments" / "LibriSpeech" / "dev-clean" / "84" / "121"
    folder.mkdir(parents=True)
    line = '84-121-0001 ",GO,DO,,YOU,HEAR," "0.05,0.1,0.2,0.25,0.3,0.4,0.5"\n'
    (folder / "84-121.alignment.txt").write_text(line)
    found = read("librispeech", path, split="dev-clean", alignments=str(tmp_path / "LibriSpeech-Alignments"))
    (absent,) = [item for item in found if isinstance(item, Rejected)]
    assert absent.id == "84-121-0000" and "has no recording" in absent.reason
    aligned = next(item for item in found if item.id == "84-121-0001")
    assert [(word.text, word.start) for word in aligned.words] == [
        ("GO", 800),
        ("DO", 1600),
        ("YOU", 4000),
        ("HEAR", 4800),
    ]


def test_missing_audio_and_empty_texts_are_noted(tmp_path: Path, record) -> None:
    path = common_voice(tmp_path, record)
    (path / "clips" / "cv_0.wav").unlink()
    (path / "validated.tsv").write_text("client_id\tpath\tsentence\na\tcv_0.wav\thello\nb\tcv_1.wav\t\n")
    found = read("common_voice", path)
    assert [(type(item).__name__, item.id) for item in found] == [
        ("Rejected", "cv_0"),
        ("Rejected", "cv_1"),
        ("Utterance", "cv_1"),
    ]


@pytest.mark.parametrize("name", [*MAKERS, "expresso", "fisher"])
def test_a_folder_of_another_kind_says_what_was_expected(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recording in this folder, expected"):
        read(name, tmp_path)
    with pytest.raises(DataError, match="no such folder, expected"):
        read(name, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="needs path"):
        build_component("source", {"name": name, "path": ""})
    with pytest.raises(DataError, match=r"no split 'train'.*is this the right folder"):
        read(name, tmp_path, split="train")


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("ljspeech", "metadata.csv", b"LJ001-0001\n", r"line 1 is 'LJ001-0001', expected ID\|TEXT"),
        ("ljspeech", "metadata.csv", b"\xff\xfe\x00", "cannot be read as text"),
        ("common_voice", "validated.tsv", b"path\tsentence\n", "expected client_id too"),
        ("voxpopuli", "asr_dev.tsv", b"id\tnormalized_text\n", "expected gender, raw_text, speaker_id too"),
    ],
)
def test_broken_tables_name_themselves(
    name: str, file: str, content: bytes, message: str, tmp_path: Path, record
) -> None:
    path = MAKERS[name](tmp_path, record)
    (path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(name, path)
