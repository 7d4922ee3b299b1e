"""Files of word times, as aligners leave them, to `TimedWord`s: which format one has is seen from its content.

| written by | file |
|---|---|
| Montreal Forced Aligner, Praat | ``.TextGrid`` long or short; ``.json`` with tiers; ``.csv`` |
| Kaldi, NeMo and others | ``.ctm``, many recordings |
| LibriSpeech-Alignments | ``.alignment.txt``, many utterances |
| WhisperX, ctc-forced-aligner | ``.json`` with segments |
| moshi-finetune | ``.json`` with alignments |

Silence is left out. Words of which an aligner knows no times (digits, in WhisperX) share the gap between their
neighbours.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from stlm.errors import DataError

SILENCES = {"", "<eps>", "<silence>", "sil", "sp", "<sil>"}
SUFFIXES = (".TextGrid", ".json", ".csv", ".ctm")
"""Of files that belong to one recording, in the order in which they are looked for."""
WORDS_TIER = re.compile(r"(.* - )?words?", re.IGNORECASE)
NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
TOKEN = re.compile(rf'"(?:[^"]|"")*"|<\w+>|\[[^\]]*\]|![^\n]*|{NUMBER}|[^\s"<\[!]+')


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedWord:
    """A word as an aligner writes it.

    Args:
        label: perhaps in lower case, or a part of a word.
        start, end: seconds from the start of the recording.
        score: the aligner's confidence, or None.
    """

    label: str
    start: float
    end: float
    score: float | None = None


def read_alignment(path: Path, recording: str) -> list[TimedWord]:
    """The words of one recording, by their start.

    Args:
        path: a file in one of the formats above.
        recording: which one, in files of many.

    Raises:
        DataError: the file cannot be read, is in none of the formats, or lacks the recording.
    """
    name = path.name.lower()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected word times") from error
    try:
        text = _decoded(content)
        if name.endswith(".textgrid"):
            found = _textgrid(text)
        elif name.endswith(".json"):
            found = _json(json.loads(text))
        elif name.endswith(".csv"):
            found = _csv(text)
        elif name.endswith(".ctm"):
            found = _ctm(text, recording)
        elif name.endswith(".alignment.txt"):
            found = _librispeech(text, recording)
        else:
            expected = ", ".join((*SUFFIXES, ".alignment.txt"))
            raise DataError(f"unknown kind of word times, expected {expected}")
        words = [word for word in found if word.label.strip().lower() not in SILENCES]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: cannot be read as word times ({type(error).__name__}: {error}): write them again"
        ) from error
    return sorted(words, key=lambda word: (word.start, word.end))


def _decoded(content: bytes) -> str:
    """Praat writes UTF-8, or UTF-16 with a mark."""
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    return content.decode("utf-16" if is_wide else "utf-8-sig")


def _textgrid(text: str) -> Iterator[TimedWord]:
    """Long and short files hold the same strings, numbers and flags in the same order; the rest is for people."""
    tokens = iter(_values(text))

    def take(kind: type) -> Any:
        value = next(tokens, None)
        if not isinstance(value, kind):
            raise DataError(f"is no whole TextGrid: expected a {kind.__name__}, got {value!r}")
        return value

    if (take(str), take(str)) != ("ooTextFile", "TextGrid"):
        raise DataError("is no TextGrid: expected 'ooTextFile' and 'TextGrid' in its head")
    take(float), take(float)
    if take(bool):
        tiers = []
        for _ in range(int(take(float))):
            kind, name = take(str), take(str)
            take(float), take(float)
            count = int(take(float))
            if kind == "IntervalTier":
                entries = [(take(float), take(float), take(str)) for _ in range(count)]
                tiers.append((name, entries))
            else:
                _ = [(take(float), take(str)) for _ in range(count)]
        yield from _of_tiers(tiers)


def _values(text: str) -> Iterator[str | float | bool]:
    for match in TOKEN.finditer(text):
        token = match.group()
        if token[0] == '"':
            yield token[1:-1].replace('""', '"')
        elif token in ("<exists>", "<absent>"):
            yield token == "<exists>"
        elif re.fullmatch(NUMBER, token):
            yield float(token)


def _of_tiers(tiers: Iterable[tuple[str, Iterable[tuple[float, float, str]]]]) -> Iterator[TimedWord]:
    """Of those tiers that hold words: ``words``, or one for each speaker; of the only tier, whatever it is called."""
    every = list(tiers)
    chosen = [entries for name, entries in every if WORDS_TIER.fullmatch(name)]
    if not chosen and len(every) == 1:
        chosen = [every[0][1]]
    if not chosen:
        raise DataError(f"has the tiers {[name for name, _ in every]}, expected one called 'words'")
    for entries in chosen:
        for start, end, label in entries:
            yield TimedWord(label=str(label), start=float(start), end=float(end))


def _json(content: Any) -> Iterable[TimedWord]:
    if "tiers" in content:
        return _of_tiers((name, [tuple(entry) for entry in tier["entries"]]) for name, tier in content["tiers"].items())
    if "alignments" in content:
        return [
            TimedWord(label=label, start=float(start), end=float(end))
            for label, (start, end), *_ in content["alignments"]
        ]
    if "segments" in content:
        return _segments(content["segments"])
    raise DataError(f"holds the keys {sorted(content)}, expected tiers, segments or alignments")


def _segments(segments: list[Mapping[str, Any]]) -> list[TimedWord]:
    """Of WhisperX, which lists words in segments, or of ctc-forced-aligner, whose segments are words."""
    rows: list[Mapping[str, Any]] = []
    for segment in segments:
        if "words" in segment:
            rows += _filled(segment)
        elif len(str(segment["text"]).split()) > 1:
            raise DataError(
                f"has times for {str(segment['text'])[:40]!r} as a whole, expected single words: align with "
                "split_size=word"
            )
        else:
            rows.append({**segment, "word": segment["text"]})
    return [
        TimedWord(
            label=str(row["word"]).strip(),
            start=float(row["start"]),
            end=float(row["end"]),
            score=None if row.get("score") is None else float(row["score"]),
        )
        for row in rows
    ]


def _filled(segment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Words of a segment; those without times share the gap in which they lie."""
    words = [dict(word) for word in segment["words"]]
    known = [-1, *(index for index, word in enumerate(words) if "start" in word and "end" in word), len(words)]
    for before, after in pairwise(known):
        count = after - before - 1
        start = float(words[before]["end"] if before >= 0 else segment["start"])
        end = float(words[after]["start"] if after < len(words) else segment["end"])
        for place in range(count):
            share = max(0.0, end - start) / count
            words[before + 1 + place] |= {"start": start + place * share, "end": start + (place + 1) * share}
    return [word for word in words if word["end"] > word["start"]]


def _csv(text: str) -> Iterator[TimedWord]:
    rows = csv.DictReader(io.StringIO(text))
    missing = {"Begin", "End", "Label", "Type"} - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"has the columns {rows.fieldnames}, expected Begin, End, Label, Type as MFA writes them")
    for row in rows:
        if row["Type"] == "words":
            yield TimedWord(label=row["Label"], start=float(row["Begin"]), end=float(row["End"]))


def _ctm(text: str, recording: str) -> list[TimedWord]:
    found: list[TimedWord] = []
    names: set[str] = set()
    for line in text.splitlines():
        fields = line.split(";;")[0].split()
        if not fields:
            continue
        name, _, start, length, label, *score = fields
        names.add(name)
        if name == recording:
            first = float(start)
            found.append(
                TimedWord(label=label, start=first, end=first + float(length), score=float(score[0]) if score else None)
            )
    return _there(found, recording, names)


def _librispeech(text: str, recording: str) -> list[TimedWord]:
    """Lines ``utterance "w1,w2" "e1,e2"``: ends only, each word begins where the one before ends."""
    names: set[str] = set()
    for line in text.splitlines():
        if not line.strip():
            continue
        name, labels, ends = line.split(" ", 1)[0], *re.findall(r'"([^"]*)"', line)
        names.add(name)
        if name == recording:
            times = [0.0, *map(float, ends.split(","))]
            pairs = zip(labels.split(","), pairwise(times), strict=True)
            return [TimedWord(label=label, start=start, end=end) for label, (start, end) in pairs]
    return _there([], recording, names)


def _there(found: list[TimedWord], recording: str, names: set[str]) -> list[TimedWord]:
    if not found:
        raise DataError(f"has no recording {recording!r} among its {len(names)}, expected its words")
    return found


def find_alignment(root: Path, recording: Path) -> Path | None:
    """The file with the word times of a recording.

    Args:
        root: a file with the words of many recordings, or a folder whose tree is that of the recordings.
        recording: its path within that tree, without suffix.
    """
    if root.is_file():
        return root
    names = [f"{recording.name}{suffix}" for suffix in SUFFIXES]
    names.append(f"{recording.name.rpartition('-')[0]}.alignment.txt")  # LibriSpeech-Alignments: one for a chapter
    beside = (root / recording.parent / name for name in names)
    return next((path for path in beside if path.is_file()), None)
