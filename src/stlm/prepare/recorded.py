"""What sources of recordings share: entries of a corpus, opened one by one, with word times where there are some.

A source says what its entries are (`RecordedSource.entries_of_corpus`); parts, word times, bad files and fingerprints
are the same for all.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

from stlm.audio import Place, probe_audio
from stlm.errors import ConfigError, DataError, StlmError
from stlm.interfaces.source import Source
from stlm.prepare.alignments import TimedWord, find_alignment, read_alignment
from stlm.prepare.placing import placed
from stlm.types import AudioRef, Rejected, Units, Utterance, Word

ROUNDING = 0.025
"""Seconds by which a word may leave the audio or overlap the word before and is clipped; aligners round to frames.
More is an error."""
WITHOUT_WORDS = "utterance without word times"
LABELS = ("emotion", "style", "sentiment", "intent", "topic", "gender", "language")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options that all sources of recordings have.

    Args:
        path: the corpus.
        alignments: a folder with files of word times whose tree is that of the recordings, or a file with the words of
            all; empty: a TextGrid beside a recording is taken.
        part: with parts=10, "train" leaves out every tenth recording, "test" takes only those; "all" takes everything.
        parts: see `part`.
        skip: paths of audio files to pass over, as the quarantine list names them.
    """

    path: str = ""
    alignments: str = ""
    part: str = "all"
    parts: int = 10
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recording before its audio is opened.

    Args:
        id: unique within the corpus.
        audio: the file, or the tar that holds it.
        text: the transcript, if there is one.
        row: what else is known: speaker, labels, words with times.
        note: why there is no text.
        alignment: file with the word times.
        member: name of the file within the tar.
        channel: the one that is meant, from 0; None mixes all.
        section: start and end in seconds, where only a part is meant; None as an end: to the last sample.
    """

    id: str
    audio: Path
    text: str | None
    row: Mapping[str, Any]
    note: str | None = None
    alignment: Path | None = None
    member: str | None = None
    channel: int | None = None
    section: tuple[float, float | None] | None = None

    @property
    def uri(self) -> str:
        return Place(path=self.audio, member=self.member, channel=self.channel).uri

    @property
    def name(self) -> str:
        """What files of word times call it: a channel or section goes by its own id, times counted from its start."""
        return self.audio.stem if self.channel is None and self.section is None else self.id


class RecordedSource(Source):
    """Recordings with transcripts. Subclasses list their entries in `entries_of_corpus`.

    Args:
        config: which corpus, which part of it, and where word times are.

    Raises:
        DataError: the folder does not exist or holds no recording, or there are no word times where they should be.
        ConfigError: unknown part, or a share below one.
    """

    expected: ClassVar[str]
    """What the folder should hold, for messages."""

    def __init__(self, config: Config) -> None:
        self.path, part, parts = Path(config.path), config.part, config.parts
        if parts < 1:
            raise ConfigError(f"parts must be 1 or more, got {parts}: every parts-th recording is held out")
        if part not in ("all", "train", "test"):
            raise ConfigError(f"part must be 'all', 'train' or 'test', got {part!r}")
        if not config.path:
            raise ConfigError("this source needs path: set source.path=DIR")
        if not self.path.is_dir():
            raise DataError(f"{config.path}: no such folder, expected {self.expected}")
        self.alignments = Path(config.alignments) if config.alignments else None
        if self.alignments is not None and not self.alignments.exists():
            raise DataError(f"{config.alignments}: no such folder or file, expected word times: check alignments")
        passed_over = set(config.skip)
        entries = [entry for entry in self.entries_of_corpus() if not {str(entry.audio), entry.uri} & passed_over]
        if not entries:
            raise DataError(f"{config.path}: no recording in this folder, expected {self.expected}")
        keep = {"all": lambda _: True, "train": lambda i: i % parts != 0, "test": lambda i: i % parts == 0}[part]
        self.entries = [self._aligned(entry) for index, entry in enumerate(entries) if keep(index)]

    @abstractmethod
    def entries_of_corpus(self) -> Iterator[Entry]:
        """All entries, in an order that is always the same."""

    def __len__(self) -> int:
        return len(self.entries)

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        for entry in self.entries[shard::num_shards]:
            yield from read_entry(entry)

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of rows and transcripts, and of size and time of the audio files and word times: what was mended or
        added changes it."""
        content = [
            [entry.id, entry.uri, entry.text, entry.row, entry.note, *state_of(entry.audio), *(entry.section or ())]
            + ([str(entry.alignment), *state_of(entry.alignment)] if entry.alignment else [])
            for entry in self.entries[shard::num_shards]
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _aligned(self, entry: Entry) -> Entry:
        """With its file of word times, where there is one."""
        if self.alignments is None:
            grid = entry.audio.with_suffix(".TextGrid")
            return replace(entry, alignment=grid) if entry.section is None and grid.is_file() else entry
        if not entry.audio.is_relative_to(self.path):
            return entry
        place = entry.audio.relative_to(self.path).with_name(entry.name)
        return replace(entry, alignment=find_alignment(self.alignments, place))


def not_utf8(error: UnicodeDecodeError) -> str:
    """What is wrong with a text, and how to mend it."""
    found = f"byte {error.start} is 0x{error.object[error.start]:02x}"
    return f"is no UTF-8 ({found}): convert it, for example with `iconv -f LATIN1 -t UTF-8`"


def fingerprint_of(files: Iterable[Path]) -> str:
    """Hash of names, sizes and times."""
    states = [[str(file), *state_of(file)] for file in files]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def state_of(path: Path) -> tuple[int, int]:
    """Size and time of a file; -1 where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


def read_entry(entry: Entry) -> Iterator[Utterance | Rejected]:
    """The utterance of an entry, with a note for each part that could not be used."""
    if "broken" in entry.row:
        yield Rejected(id=entry.id, uri=entry.uri, reason=entry.row["broken"])
        return
    try:
        audio = _section(probe_audio(entry.uri), entry.section)
    except StlmError as error:
        yield Rejected(id=entry.id, uri=entry.uri, reason=str(error))
        return
    yield from described(entry, audio)


def described(
    entry: Entry, audio: AudioRef, streams: Mapping[str, Units] | None = None
) -> Iterator[Utterance | Rejected]:
    """The utterance of an entry whose audio is known, with a note for each part that could not be used."""
    if entry.note:
        yield Rejected(id=entry.id, uri=entry.uri, reason=entry.note, kept_as="speech without text")
    plain = {
        "id": entry.id,
        "audio": audio,
        "text": entry.text,
        "streams": streams or {},
        "speaker": None if entry.row.get("speaker") is None else str(entry.row["speaker"]),
        "labels": {name: str(entry.row[name]) for name in LABELS if entry.row.get(name)},
    }
    try:
        yield Utterance(**plain, words=words_of(entry, audio))
    except StlmError as error:
        yield Rejected(id=entry.id, uri=entry.uri, reason=str(error), kept_as=WITHOUT_WORDS)
        yield Utterance(**plain)


def _section(audio: AudioRef, section: tuple[float, float | None] | None) -> AudioRef:
    """A part of a recording; an end just beyond the last sample is that sample.

    Raises:
        DataError: it is empty or lies outside.
    """
    if section is None:
        return audio
    start, end = section
    first = round(start * audio.sample_rate)
    last = audio.num_samples if end is None else round(end * audio.sample_rate)
    if last <= audio.num_samples + ROUNDING * audio.sample_rate:
        last = min(last, audio.num_samples)
    if not 0 <= first < last <= audio.num_samples:
        raise DataError(
            f"{audio.uri}: there is no section from {start:g} to {'the end' if end is None else f'{end:g}'} s, the "
            f"recording has {audio.seconds:.2f} s: check the times"
        )
    return replace(audio, start=first, num_samples=last - first)


def words_of(entry: Entry, audio: AudioRef) -> tuple[Word, ...]:
    """Words of a manifest row, or of the file with its word times, placed in its text.

    Raises:
        DataError: there are no times, or a word is not in the text at its place.
    """
    rows, text = entry.row.get("words") or [], entry.text or ""
    if not isinstance(rows, list):
        raise DataError(f"{entry.id}: words must be a list of word, start and end in seconds, got {rows!r}")
    timed = [_timed(entry.id, index, row) for index, row in enumerate(rows)]
    if not timed and entry.alignment is not None and text:
        timed = read_alignment(entry.alignment, entry.name)
    try:
        places = placed(timed, text)
    except DataError as error:
        raise DataError(f"{entry.id}: {error}") from error
    words: list[Word] = []
    for found in places:
        start, end = (round(edge * audio.sample_rate) for edge in (found.start, found.end))
        start, end = _clipped(start, end, words[-1].end if words else 0, audio)
        words.append(
            Word(
                text=text[found.char_start : found.char_end],
                start=start,
                end=end,
                char_start=found.char_start,
                char_end=found.char_end,
                score=found.score,
            )
        )
    return tuple(words)


def _timed(id: str, index: int, row: Any) -> TimedWord:
    try:
        start, end = float(row["start"]), float(row["end"])
        if not (isfinite(start) and isfinite(end)):
            raise ValueError("not finite")
        score = None if row.get("score") is None else float(row["score"])
        return TimedWord(label=str(row["word"]), start=start, end=end, score=score)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{id}: words[{index}] needs word, start and end in seconds, got {row!r}") from error


def _clipped(start: int, end: int, before: int, audio: AudioRef) -> tuple[int, int]:
    """Times whose rounding reaches into the word before or beyond the audio, cut off there; others as they are."""
    slack = round(ROUNDING * audio.sample_rate)
    if before - slack <= start < before < end:
        start = before
    if start < audio.num_samples < end <= audio.num_samples + slack:
        end = audio.num_samples
    return start, end
