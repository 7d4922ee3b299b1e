"""Word times in every format that aligners write, and their place in the text that was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stlm.errors import DataError
from stlm.prepare.alignments import TimedWord, find_alignment, read_alignment
from stlm.prepare.folder import FolderSource
from stlm.prepare.placing import placed
from stlm.types import Utterance

EXPECTED = [("the", 0.1, 0.25), ("dog", 0.25, 0.6), ("ran", 0.8, 1.0)]
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 1.2 
tiers? <exists> 
size = 3 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "anna - words" 
        xmin = 0 
        xmax = 1.2 
        intervals: size = 6 
        intervals [1]:
            xmin = 0 
            xmax = 0.1 
            text = "" 
        intervals [2]:
            xmin = 0.1 
            xmax = 0.25 
            text = "the" 
        intervals [3]:
            xmin = 0.25 
            xmax = 0.6 
            text = "dog" 
        intervals [4]:
            xmin = 0.6 
            xmax = 0.8 
            text = "" 
        intervals [5]:
            xmin = 0.8 
            xmax = 1 
            text = "ran" 
        intervals [6]:
            xmin = 1 
            xmax = 1.2 
            text = "" 
    item [2]:
        class = "TextTier" 
        name = "a ""quoted"" 2nd tier" 
        xmin = 0 
        xmax = 1.2 
        points: size = 1 
        points [1]:
            number = 0.5 
            mark = "words 3" 
    item [3]:
        class = "IntervalTier" 
        name = "anna - phones" 
        xmin = 0 
        xmax = 1.2 
        intervals: size = 1 
        intervals [1]:
            xmin = 0 
            xmax = 1.2 
            text = "DH" 
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.2
<exists>
1
"IntervalTier"
"words"
0
1.2
4
0
0.1
""
0.1
0.25
"the"
0.25
0.6
"dog"
0.8
1
"ran"
"""
FILES = {
    "long.TextGrid": LONG,
    "short.TextGrid": SHORT,
    "mfa.json": json.dumps(
        {
            "start": 0,
            "end": 1.2,
            "tiers": {
                "words": {"type": "interval", "entries": [[0, 0.1, ""], *([b, e, w] for w, b, e in EXPECTED)]},
                "phones": {"type": "interval", "entries": [[0, 1.2, "DH"]]},
            },
        }
    ),
    "mfa.csv": "Begin,End,Label,Type,Speaker\n"
    + "".join(f"{b},{e},{w},words,anna\n" for w, b, e in EXPECTED)
    + "0,1.2,DH,phones,anna\n",
    "all.ctm": ";; made by hand\nother 1 0.0 0.5 no\n"
    + "".join(f"rec 1 {b} {round(e - b, 6)} {w}\n" for w, b, e in EXPECTED),
    "19-198.alignment.txt": 'other ",NO," "0.1,0.2,0.3"\nrec ",the,dog,,ran," "0.1,0.25,0.6,0.8,1.0,1.2"\n',
    "whisperx.json": json.dumps(
        {
            "segments": [
                {
                    "start": 0.1,
                    "end": 1.0,
                    "text": "the dog ran",
                    "words": [{"word": w, "start": b, "end": e, "score": 0.5} for w, b, e in EXPECTED],
                }
            ],
            "word_segments": [],
            "language": "en",
        }
    ),
    "ctc.json": json.dumps(
        {"text": "the dog ran", "segments": [{"start": b, "end": e, "text": w, "score": -1.0} for w, b, e in EXPECTED]}
    ),
    "moshi.json": json.dumps({"alignments": [[w, [b, e], "SPEAKER_MAIN"] for w, b, e in EXPECTED]}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_words(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])
    found = read_alignment(tmp_path / name, "rec")
    assert [(word.label, word.start, pytest.approx(word.end)) for word in found] == EXPECTED


def test_praat_files_in_utf_16_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.TextGrid").write_bytes(SHORT.replace("dog", "chien été").encode("utf-16"))
    assert [word.label for word in read_alignment(tmp_path / "a.TextGrid", "a")] == ["the", "chien été", "ran"]


def test_words_of_two_speakers_come_by_their_start(tmp_path: Path) -> None:
    tiers = {f"{name} - words": {"entries": [[start, start + 0.1, name]]} for name, start in (("b", 0.5), ("a", 0.2))}
    (tmp_path / "a.json").write_text(json.dumps({"tiers": tiers}))
    assert [word.label for word in read_alignment(tmp_path / "a.json", "a")] == ["a", "b"]


def test_words_without_times_share_the_gap(tmp_path: Path) -> None:
    words = [{"word": "$5"}, {"word": "buys", "start": 1.0, "end": 1.4}, {"word": "3"}, {"word": "4"}]
    words.append({"word": "eggs", "start": 2.0, "end": 2.5})
    (tmp_path / "a.json").write_text(json.dumps({"segments": [{"start": 0.5, "end": 2.5, "words": words}]}))
    found = [(word.label, word.start, word.end) for word in read_alignment(tmp_path / "a.json", "a")]
    assert found[0] == ("$5", 0.5, 1.0)
    assert found[2:4] == [("3", 1.4, pytest.approx(1.7)), ("4", pytest.approx(1.7), 2.0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.TextGrid", "no grid", "is no TextGrid|is no whole TextGrid"),
        ("a.TextGrid", LONG[:400], "is no whole TextGrid"),
        ("a.TextGrid", LONG.replace("anna - words", "anna - phrases"), "expected one called 'words'"),
        ("a.TextGrid", b"\xff\xfe\x00", "cannot be read as word times"),
        ("a.json", "{", "cannot be read as word times"),
        ("a.json", "[1]", "expected tiers, segments or alignments|cannot be read as word times"),
        ("a.json", "{}", "expected tiers, segments or alignments"),
        ("a.json", '{"segments": [{"text": "two words", "start": 0, "end": 1}]}', "split_size=word"),
        ("a.csv", "word,start,end\n", "expected Begin, End, Label, Type"),
        ("a.csv", "Begin,End,Label,Type\nsoon,1,a,words\n", "cannot be read as word times"),
        ("a.ctm", "rec 1 0.1\n", "cannot be read as word times"),
        ("a.ctm", "other 1 0.1 0.2 word\n", "has no recording 'rec' among its 1"),
        ("a.alignment.txt", 'rec "a,b" "0.1"\n', "cannot be read as word times"),
        ("a.srt", "", "unknown kind of word times, expected .TextGrid"),
    ],
)
def test_broken_files_name_themselves(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as raised:
        read_alignment(tmp_path / name, "rec")
    assert str(raised.value).startswith(str(tmp_path / name)) and "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_alignment(tmp_path / "a.ctm", "a")


def timed(*labels: str) -> list[TimedWord]:
    return [TimedWord(label=label, start=float(at), end=at + 0.5) for at, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ('"Hello," she said.', ["hello", "she", "said"], [("Hello", 0), ("she", 1), ("said", 2)]),
        ("I don't — know!", ["i", "do", "n't", "know"], [("I", 0), ("don't", 1), ("know", 3)]),
        ("an ice-cream van", ["an", "ice", "cream", "van"], [("an", 0), ("ice-cream", 1), ("van", 3)]),
        ("New York City", ["new york", "city"], [("New York", 0), ("City", 1)]),
        ("at 10:30 sharp", ["at", "ten", "thirty", "sharp"], [("at", 0), ("10:30", 1), ("sharp", 3)]),
        ("the xyzzy dog", ["the", "<unk>", "dog"], [("the", 0), ("xyzzy", 1), ("dog", 2)]),
        ("the very big dog", ["the", "dog"], [("the", 0), ("dog", 1)]),
        ("a cat and a hat", ["a", "cat", "and", "a", "hat"], [("a", 0), ("cat", 1), ("and", 2), ("a", 3), ("hat", 4)]),
        ("Straße İstanbul", ["strasse", "i̇stanbul"], [("Straße", 0), ("İstanbul", 1)]),
        ("", [], []),
        ("… – !", [], []),
    ],
)
def test_words_keep_the_spelling_of_the_text(text: str, labels: list[str], expected: list[tuple[str, int]]) -> None:
    found = placed(timed(*labels), text)
    assert [(text[word.char_start : word.char_end], int(word.start)) for word in found] == expected


@pytest.mark.parametrize("labels", [["cat"], ["the", "cat"], ["dog", "the"], ["the", "dog", "barked"], ["<unk>"] * 4])
def test_words_that_are_not_in_the_text_are_an_error(labels: list[str]) -> None:
    with pytest.raises(DataError, match="does not occur in the text after character"):
        placed(timed(*labels), "the big dog")


def test_joined_words_have_the_lowest_score() -> None:
    parts = [
        TimedWord(label=label, start=at, end=at + 1, score=score)
        for label, at, score in (("do", 0, 0.9), ("nt", 1, 0.4))
    ]
    (word,) = placed(parts, "don't")
    assert (word.start, word.end, word.score) == (0, 2, 0.4)


def test_a_folder_finds_the_files_of_its_aligner(tmp_path: Path, record) -> None:
    (tmp_path / "corpus" / "anna").mkdir(parents=True)
    (tmp_path / "mfa" / "anna").mkdir(parents=True)
    for name in ("one", "two"):
        record(tmp_path / "corpus" / "anna" / f"{name}.wav", 1.2)
        (tmp_path / "corpus" / "anna" / f"{name}.txt").write_text("The dog ran.")
    (tmp_path / "mfa" / "anna" / "one.json").write_text(FILES["mfa.json"])
    aligned = FolderSource(tmp_path / "corpus", alignments=tmp_path / "mfa")
    one, two = [found for found in aligned.utterances() if isinstance(found, Utterance)]
    assert [(word.text, word.start, word.end) for word in one.words] == [
        ("The", 1600, 4000),
        ("dog", 4000, 9600),
        ("ran", 12800, 16000),
    ]
    assert two.words == ()
    before = aligned.fingerprint()
    (tmp_path / "mfa" / "anna" / "two.csv").write_text(FILES["mfa.csv"])
    again = FolderSource(tmp_path / "corpus", alignments=tmp_path / "mfa")
    assert again.fingerprint() != before
    assert [len(found.words) for found in again.utterances() if isinstance(found, Utterance)] == [3, 3]


def test_a_textgrid_beside_a_recording_is_its_alignment_and_one_file_may_hold_all(tmp_path: Path, record) -> None:
    record(tmp_path / "rec.wav", 1.2)
    (tmp_path / "rec.txt").write_text("The dog ran.")
    (tmp_path / "rec.json").write_text("{}")  # might be anything
    assert [len(found.words) for found in FolderSource(tmp_path).utterances() if isinstance(found, Utterance)] == [0]
    (tmp_path / "all.ctm").write_text(FILES["all.ctm"])
    assert find_alignment(tmp_path / "all.ctm", Path("rec")) == tmp_path / "all.ctm"
    for alignments in (tmp_path / "all.ctm", ""):
        (tmp_path / "rec.TextGrid").write_text(SHORT)
        (found,) = FolderSource(tmp_path, alignments=alignments).utterances()
        assert isinstance(found, Utterance) and [word.text for word in found.words] == ["The", "dog", "ran"]


def test_words_that_do_not_fit_are_noted_and_the_utterance_kept(tmp_path: Path, record) -> None:
    record(tmp_path / "rec.wav", 1.2)
    (tmp_path / "rec.txt").write_text("Something else.")
    (tmp_path / "rec.TextGrid").write_text(SHORT)
    note, kept = FolderSource(tmp_path).utterances()
    assert "word 'the' does not occur" in note.reason and kept.words == ()  # type: ignore[union-attr]
    with pytest.raises(DataError, match="expected word times: check alignments"):
        FolderSource(tmp_path, alignments=tmp_path / "nowhere")
