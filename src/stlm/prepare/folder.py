"""A folder of recordings as a source: audio with ``.txt`` beside it, or a ``manifest.jsonl``.

A manifest row is ``{"audio": path, "text": …, "id": …, "speaker": …, "words": [{"word", "start", "end"}]}`` with times
in seconds and paths relative to the manifest; everything but ``audio`` is optional. Word times may also lie in the
files of an aligner (`stlm.prepare.alignments`): a TextGrid beside a recording, or what ``alignments`` names.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from stlm.audio import probe_audio
from stlm.errors import ConfigError, DataError, StlmError
from stlm.interfaces.source import Source
from stlm.prepare.alignments import TimedWord, find_alignment, read_alignment
from stlm.prepare.placing import placed
from stlm.types import AudioRef, Rejected, Utterance, Word

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus")
ROUNDING = 0.025
"""Seconds by which a word may leave the audio or overlap the word before and is clipped; aligners round to frames.
More is an error."""
LABELS = ("emotion", "style", "sentiment", "intent", "topic", "gender", "language")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `FolderSource`.

    `part` and `parts` hold out a share: with parts=10, part="train" leaves out every tenth utterance, part="test" takes
    only those. `skip` names audio files to pass over, by path. `alignments` is a folder with files of word times whose
    tree is that of the recordings, or a file with the words of all.
    """

    path: str = ""
    alignments: str = ""
    part: str = "all"
    parts: int = 10
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recording before its audio is opened."""

    id: str
    audio: Path
    text: str | None
    row: Mapping[str, Any]
    note: str | None = None
    alignment: Path | None = None


class FolderSource(Source):
    """Recordings of a folder.

    Args:
        path: the folder.
        part: "all", "train" or "test".
        parts: every `parts`-th recording is a test recording.
        skip: paths of audio files to pass over, as the quarantine list names them.
        alignments: folder or file of word times; None takes TextGrids beside the recordings.

    Raises:
        DataError: the folder does not exist or holds no audio, its manifest cannot be read, or there are no word times.
        ConfigError: unknown part, or a share below one.
    """

    def __init__(
        self,
        path: str | Path,
        part: str = "all",
        parts: int = 10,
        skip: Collection[str] = (),
        alignments: str | Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.alignments = None if alignments is None else Path(alignments)
        if self.alignments is not None and not self.alignments.exists():
            raise DataError(f"{alignments}: no such folder or file, expected word times: check alignments")
        if parts < 1:
            raise ConfigError(f"parts must be 1 or more, got {parts}: every parts-th recording is held out")
        if part not in ("all", "train", "test"):
            raise ConfigError(f"part must be 'all', 'train' or 'test', got {part!r}")
        if not self.path.is_dir():
            raise DataError(f"{path}: no such folder: give a folder with audio files or a manifest.jsonl")
        passed_over = set(skip)
        entries = [entry for entry in self._entries() if str(entry.audio) not in passed_over]
        if not entries:
            raise DataError(f"{path}: no audio ({', '.join(AUDIO_SUFFIXES)}) and no manifest.jsonl in this folder")
        keep = {"all": lambda _: True, "train": lambda i: i % parts != 0, "test": lambda i: i % parts == 0}[part]
        self.entries = [entry for index, entry in enumerate(entries) if keep(index)]

    def __len__(self) -> int:
        return len(self.entries)

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        for entry in self.entries[shard::num_shards]:
            yield from read_entry(entry)

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of rows and transcripts, and of size and time of the audio files: mended or added files change it."""
        content = [
            [entry.id, str(entry.audio), entry.text, entry.row, entry.note, *_state(entry.audio)]
            + ([str(entry.alignment), *_state(entry.alignment)] if entry.alignment else [])
            for entry in self.entries[shard::num_shards]
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _entries(self) -> Iterator[Entry]:
        manifest = self.path / "manifest.jsonl"
        if manifest.exists():
            for entry in _manifest_entries(manifest):
                yield replace(entry, alignment=self._alignment(Path(entry.row.get("audio", ""))))
            return
        found = sorted(path for path in self.path.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        names = Counter(path.with_suffix("") for path in found)
        for audio in found:
            name = audio.relative_to(self.path)
            name = str(name if names[audio.with_suffix("")] > 1 else name.with_suffix(""))
            text, note = _transcript(audio.with_suffix(".txt"))
            alignment = self._alignment(audio.relative_to(self.path))
            yield Entry(id=name, audio=audio, text=text, row={}, note=note, alignment=alignment)

    def _alignment(self, audio: Path) -> Path | None:
        """The word times of a recording, by its path in the folder."""
        if self.alignments is not None:
            return find_alignment(self.alignments, audio.with_suffix(""))
        grid = (self.path / audio).with_suffix(".TextGrid")
        return grid if grid.is_file() else None


def _state(path: Path) -> tuple[int, int]:
    """Size and time of a file; -1 where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _transcript(path: Path) -> tuple[str | None, str | None]:
    """The words of a transcript file, or what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        return None, (
            f"the transcript {path.name} is no UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}): "
            "convert it, for example with `iconv -f LATIN1 -t UTF-8`"
        )
    except OSError as error:
        return None, f"the transcript {path.name} cannot be read ({error.strerror}): expected a text file"
    return text or None, None if text else f"no transcript: expected {path.name} beside it with the spoken words"


def _manifest_entries(manifest: Path) -> Iterator[Entry]:
    try:
        content = manifest.read_bytes()
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}), expected one JSON object a line") from error
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
            audio = manifest.parent / row["audio"]
            text = row.get("text") or None
            if not isinstance(text, str | None):
                raise TypeError(f"'text' is {text!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"line {number} is not a JSON object with an 'audio' path ({type(error).__name__}: {error})"
            yield Entry(id=f"{manifest.name}:{number}", audio=manifest, text=None, row={"broken": reason})
            continue
        note = None if text else f"no transcript: line {number} has no 'text'"
        yield Entry(id=str(row.get("id", Path(row["audio"]).stem)), audio=audio, text=text, row=row, note=note)


def read_entry(entry: Entry) -> Iterator[Utterance | Rejected]:
    """The utterance of an entry, with a note for each part that could not be used."""
    uri = str(entry.audio)
    if "broken" in entry.row:
        yield Rejected(id=entry.id, uri=uri, reason=entry.row["broken"])
        return
    try:
        audio = probe_audio(entry.audio)
        if audio.num_samples == 0:
            raise DataError(f"{uri}: the file holds no audio")
    except StlmError as error:
        yield Rejected(id=entry.id, uri=uri, reason=str(error))
        return
    if entry.note:
        yield Rejected(id=entry.id, uri=uri, reason=entry.note, kept_as="speech without text")
    labels = {name: str(entry.row[name]) for name in LABELS if entry.row.get(name)}
    plain = {
        "id": entry.id,
        "audio": audio,
        "text": entry.text,
        "speaker": None if entry.row.get("speaker") is None else str(entry.row["speaker"]),
        "labels": labels,
    }
    try:
        yield Utterance(**plain, words=words_of(entry, audio))
    except StlmError as error:
        yield Rejected(id=entry.id, uri=uri, reason=str(error), kept_as="utterance without word times")
        yield Utterance(**plain)


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
        timed = read_alignment(entry.alignment, entry.audio.stem)
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


def build(config: Config) -> FolderSource:
    if not config.path:
        raise ConfigError("source folder needs path: set source.path=DIR")
    alignments = config.alignments or None
    return FolderSource(config.path, config.part, config.parts, config.skip, alignments)
