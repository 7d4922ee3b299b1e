"""Expresso and Fisher: channels, sections, speakers and styles land where the corpora say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.audio import read_audio
from stlm.config.build import build_component
from stlm.errors import DataError
from stlm.interfaces import Source
from stlm.prepare import expresso, fisher
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance

RATE = 8000


def sides(path: Path, *levels: float, seconds: float = 2.0) -> None:
    """A recording whose channels are of one level each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"format": "NIST", "subtype": "PCM_16"} if path.suffix == ".sph" else {}
    soundfile.write(path, np.tile(np.array(levels), (int(RATE * seconds), 1)), RATE, **form)


def expresso_at(root: Path) -> Path:
    audio = root / "audio_48khz"
    sides(audio / "conversational" / "ex04-ex01" / "animal-animaldir" / "ex04-ex01_animal-animaldir_005.wav", 0.1, 0.2)
    sides(audio / "conversational" / "ex01-ex02" / "laughing" / "ex01-ex02_laughing_001.wav", 0.3, 0.4)
    sides(audio / "read" / "ex03" / "default" / "base" / "ex03_default_emphasis_00010.wav", 0.5)
    sides(audio / "read" / "ex03" / "default" / "longform" / "ex03_default_longform_00001.wav", 0.5)
    sides(audio / "read" / "ex04" / "happy" / "base" / "ex04_happy_00085.wav", 0.6)
    texts = ["ex03_default_emphasis_00010\tI *said* so.", "ex03_default_longform_00001\tA long story.", ""]
    (root / "read_transcriptions.txt").write_text("\n".join(texts))
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("# format\nex01-ex02_laughing_001\t(1.5s,)\nex04_happy_00085\n")
    lines = [
        "ex01-ex02_laughing_001\t(,0.5s)",
        "ex03_default_longform_00001\t(0.25s,1.0s)",
        "ex03_default_emphasis_00010",
    ]
    (root / "splits" / "dev.txt").write_text("\n".join(lines))
    return root


def fisher_at(root: Path) -> Path:
    sides(root / "fisher_eng_tr_sp_d1" / "audio" / "000" / "fe_03_00001.sph", 0.1, -0.2)
    sides(root / "fisher_eng_tr_sp_d1" / "audio" / "000" / "fe_03_00002.wav", 0.3, 0.4)
    trans = root / "fe_03_p1_tran" / "data" / "trans" / "000"
    trans.mkdir(parents=True)
    lines = [
        "# fe_03_00001.sph",
        "# Transcribed at the LDC",
        "",
        "0.25 0.75 A: hello there",
        "",
        "0.50 1.50 B: (( hi )) ",
        "",
    ]
    (trans / "fe_03_00001.txt").write_text("\n".join(lines))
    (trans / "fe_03_00003.txt").write_text("0.1 0.2 A: nobody recorded me\n")
    doc = root / "fe_03_p1_tran" / "doc"
    doc.mkdir()
    (doc / "readme.txt").write_text("no transcript\n")
    head = "CALL_ID,DATE_TIME,TOPICID,SIG_GRADE,CNV_GRADE,APIN,ASX.DL,APHNUM,BPIN,BSX.DL,BPHNUM\n"
    (doc / "fe_03_p1_calldata.tbl").write_text(f"{head}00001,20021212,ENG01,3,3,2602,f.a,x,1790,m.o,y\n")
    return root


def read(name: str, path: Path, **options: object) -> tuple[dict[str, Utterance], dict[str, Rejected]]:
    items = list(build_component("source", {"name": name, "path": str(path), **options}).utterances())
    return (
        {item.id: item for item in items if isinstance(item, Utterance)},
        {item.id: item for item in items if isinstance(item, Rejected)},
    )


class TestExpresso(SourceContract):
    component = "expresso"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return expresso.build(expresso.Config(path=str(expresso_at(tmp_path))))


class TestFisher(SourceContract):
    component = "fisher"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        return fisher.build(fisher.Config(path=str(fisher_at(tmp_path))))


def test_a_dialogue_is_an_utterance_for_each_speaker(tmp_path: Path) -> None:
    used, rejected = read("expresso", expresso_at(tmp_path))
    found = {
        id: (item.speaker, item.labels["style"], round(float(read_audio(item.audio).samples.mean()), 3), item.text)
        for id, item in used.items()
    }
    assert found == {
        "ex04-ex01_animal-animaldir_005_ex04": ("ex04", "animal", 0.1, None),
        "ex04-ex01_animal-animaldir_005_ex01": ("ex01", "animaldir", 0.2, None),
        "ex01-ex02_laughing_001_ex01": ("ex01", "laughing", 0.3, None),
        "ex01-ex02_laughing_001_ex02": ("ex02", "laughing", 0.4, None),
        "ex03_default_emphasis_00010": ("ex03", "default", 0.5, "I *said* so."),
        "ex03_default_longform_00001": ("ex03", "default", 0.5, "A long story."),
        "ex04_happy_00085": ("ex04", "happy", 0.6, None),
    }
    assert {id: item.kept_as for id, item in rejected.items()} == {"ex04_happy_00085": "speech without text"}


def test_splits_name_sections(tmp_path: Path) -> None:
    used, rejected = read("expresso", expresso_at(tmp_path), split="dev")
    assert {id: (item.audio.start, item.audio.num_samples) for id, item in used.items()} == {
        "ex01-ex02_laughing_001_ex01_0-0.5": (0, 4000),
        "ex01-ex02_laughing_001_ex02_0-0.5": (0, 4000),
        "ex03_default_longform_00001_0.25-1": (2000, 6000),
        "ex03_default_emphasis_00010": (0, 16000),
    }
    assert used["ex03_default_emphasis_00010"].text and not used["ex03_default_longform_00001_0.25-1"].text
    assert "of the whole recording" in rejected["ex03_default_longform_00001_0.25-1"].reason
    used, _ = read("expresso", tmp_path, split="train")
    last = used["ex01-ex02_laughing_001_ex02_1.5-"].audio
    assert (last.start, last.num_samples) == (12000, 4000)


def test_a_split_with_what_is_not_there(tmp_path: Path) -> None:
    expresso_at(tmp_path)
    (tmp_path / "splits" / "test.txt").write_text("ex01_sad_00001\nex04_happy_00085\t(1.9s,2.5s)\n")
    used, rejected = read("expresso", tmp_path, split="test")
    assert not used
    assert "no such file" in rejected["ex01_sad_00001"].reason
    assert "no section from 1.9 to 2.5 s, the recording has 2.00 s" in rejected["ex04_happy_00085_1.9-2.5"].reason
    (tmp_path / "splits" / "test.txt").write_text("ex01_sad_00001\tfirst minute\n")
    with pytest.raises(DataError, match=r"line 1 is .*expected a name, a tab and \(STARTs,ENDs\)"):
        read("expresso", tmp_path, split="test")


def test_a_turn_is_a_section_of_its_sides_channel(tmp_path: Path) -> None:
    used, rejected = read("fisher", fisher_at(tmp_path))
    first, second = used["fe_03_00001-A-00004"], used["fe_03_00001-B-00006"]
    assert (first.text, first.speaker, dict(first.labels)) == (
        "hello there",
        "2602",
        {"gender": "female", "topic": "ENG01"},
    )
    assert (second.text, second.speaker, second.labels["gender"]) == ("(( hi ))", "1790", "male")
    assert (first.audio.start, first.audio.num_samples) == (2000, 4000)
    np.testing.assert_allclose(read_audio(first.audio).samples, 0.1, atol=1e-3)
    np.testing.assert_allclose(read_audio(second.audio).samples, -0.2, atol=1e-3)
    assert {id: item.kept_as for id, item in rejected.items()} == {
        "fe_03_00002-A": "speech without text",
        "fe_03_00002-B": "speech without text",
        "fe_03_00003-A-00001": None,
    }
    assert used["fe_03_00002-B"].speaker == "fe_03_00002-B" and used["fe_03_00002-B"].audio.num_samples == 16000


def test_broken_turns_are_listed_and_the_others_arrive(tmp_path: Path) -> None:
    sides(tmp_path / "a.wav", 0.1, 0.2)
    sides(tmp_path / "mono.wav", 0.1)
    sides(tmp_path / "c.wav", 0.1, 0.2)
    (tmp_path / "a.txt").write_text("0 1 A: yes\n1 2 hello\n1 9 B: beyond\n1.5 2.02 B: (( ))\n0.5 0.5 A: nothing\n")
    (tmp_path / "mono.txt").write_text("0 1 A: yes\n0 1 B: no\n")
    (tmp_path / "c.txt").write_bytes(b"0 1 A: \xff\n")
    used, rejected = read("fisher", tmp_path)
    assert set(used) == {"a-A-00001", "a-B-00004", "mono-A-00001"}
    assert used["a-B-00004"].text is None and rejected["a-B-00004"].kept_as == "speech without text"
    assert used["a-B-00004"].audio.num_samples == 4000  # 20 ms beyond the end are rounding
    reasons = {id: item.reason for id, item in rejected.items()}
    assert "line 2 is '1 2 hello', expected START END A: WORDS" in reasons["a:2"]
    assert "no section from 1 to 9 s" in reasons["a-B-00003"] and "no section" in reasons["a-A-00005"]
    assert "no such channel" in reasons["mono-B-00002"] and "cannot be read as text" in reasons["c"]


def test_one_utterance_of_a_channel_can_be_passed_over(tmp_path: Path) -> None:
    path = fisher_at(tmp_path)
    before, _ = read("fisher", path)
    skipped = before["fe_03_00002-B"].audio.uri
    assert set(read("fisher", path, skip=[skipped])[0]) == set(before) - {"fe_03_00002-B"}


def test_words_of_a_turn_are_those_of_its_id(tmp_path: Path) -> None:
    path = fisher_at(tmp_path / "fisher")
    times = tmp_path / "times.ctm"
    times.write_text("fe_03_00001-A-00004 1 0.1 0.2 hello\nfe_03_00001-A-00004 1 0.3 0.15 there\n")
    used, _ = read("fisher", path, alignments=str(times))
    assert [(word.text, word.start, word.end) for word in used["fe_03_00001-A-00004"].words] == [
        ("hello", 800, 2400),
        ("there", 2400, 3600),
    ]
