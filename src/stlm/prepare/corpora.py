"""Published corpora as they are unpacked: LibriSpeech, LJSpeech, Multilingual LibriSpeech, Common Voice, VoxPopuli.

Each is a component of its own; ``path`` is the folder that the archive leaves, ``split`` a part of it by its published
name. Texts stay as they were published, the fuller form where there are two.
"""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stlm.errors import DataError, did_you_mean
from stlm.prepare.recorded import Config as RecordedConfig
from stlm.prepare.recorded import Entry, RecordedSource


@dataclass(frozen=True, kw_only=True)
class Config(RecordedConfig):
    """Options of every corpus here, beside those of all sources of recordings.

    Args:
        split: part of the corpus by its published name; empty: all of it.
        lower: write the text in lower case, for corpora that were published in capitals.
    """

    split: str = ""
    lower: bool = False


class PublishedCorpus(RecordedSource):
    """What the corpora share: splits, and one reading of broken transcript files."""

    def __init__(self, config: Config) -> None:
        self.split, self.lower = config.split, config.lower
        super().__init__(config)

    @abstractmethod
    def splits(self) -> Mapping[str, Path]:
        """Where each part is, by its name."""

    @abstractmethod
    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        """The entries of a part."""

    def entries_of_corpus(self) -> Iterator[Entry]:
        found = self.splits()
        if self.split and self.split not in found:
            raise DataError(
                f"{self.path}: no split {self.split!r}{did_you_mean(self.split, found)}, expected one of "
                f"{', '.join(found) or 'none: is this the right folder?'}"
            )
        for name in [self.split] if self.split else found:
            yield from self.read_split(name, found[name])

    def entry(
        self,
        id: str,
        audio: Path,
        text: str | None,
        speaker: str | None = None,
        *,
        note: str | None = None,
        channel: int | None = None,
        section: tuple[float, float | None] | None = None,
        **row: str,
    ) -> Entry:
        """One recording; `text` is None where the corpus has none for it, `row` holds labels."""
        spoken = (text or "").strip()
        labels = {key: value for key, value in row.items() if value}
        return Entry(
            id=id,
            audio=audio,
            text=(spoken.lower() if self.lower else spoken) or None,
            row={**labels, "speaker": speaker} if speaker else labels,
            note="no transcript: its text is empty" if text is not None and not spoken else note,
            channel=channel,
            section=section,
        )


class LibriSpeech(PublishedCorpus):
    """``SPLIT/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac`` and ``….trans.txt`` (Panayotov et al., 2015)."""

    expected = "the folders of LibriSpeech's splits, such as dev-clean"

    def splits(self) -> Mapping[str, Path]:
        root = self.path / "LibriSpeech" if (self.path / "LibriSpeech").is_dir() else self.path
        return {path.name: path for path in sorted(root.iterdir()) if next(path.glob("*/*/*.trans.txt"), None)}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        for transcript in sorted(place.glob("*/*/*.trans.txt")):
            for id, text in rows_of(transcript, " "):
                yield self.entry(id, transcript.parent / f"{id}.flac", text, id.split("-")[0], language="en")


class LJSpeech(PublishedCorpus):
    """``wavs/ID.wav`` and ``metadata.csv`` with ``ID|as written|as spoken`` (Ito, 2017); taken as written."""

    expected = "LJSpeech's metadata.csv and wavs"

    def splits(self) -> Mapping[str, Path]:
        metadata = self.path / "metadata.csv"
        return {"all": metadata} if metadata.is_file() else {}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        for id, texts in rows_of(place, "|"):
            yield self.entry(id, self.path / "wavs" / f"{id}.wav", texts.split("|")[0], "LJ", language="en")


class MultilingualLibriSpeech(PublishedCorpus):
    """``SPLIT/transcripts.txt`` and ``SPLIT/audio/SPEAKER/BOOK/ID.flac`` or ``.opus`` (Pratap et al., 2020)."""

    expected = "the folders train, dev and test of one language of MLS"

    def splits(self) -> Mapping[str, Path]:
        found = ((name, self.path / name / "transcripts.txt") for name in ("train", "dev", "test"))
        return {name: place for name, place in found if place.is_file()}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        for id, text in rows_of(place, "\t"):
            speaker, book, *_ = id.split("_")
            stem = place.parent / "audio" / speaker / book / id
            opus = stem.with_suffix(".opus")
            yield self.entry(id, opus if opus.is_file() else stem.with_suffix(".flac"), text, speaker)


class CommonVoice(PublishedCorpus):
    """``SPLIT.tsv`` and ``clips/`` of one language (Ardila et al., 2020)."""

    expected = "clips and a .tsv file for each split of one language of Common Voice"

    def splits(self) -> Mapping[str, Path]:
        names = ("train", "dev", "test", "validated", "other", "invalidated")
        found = {name: self.path / f"{name}.tsv" for name in names}
        there = {name: place for name, place in found.items() if place.is_file()}
        return there if self.split else {name: there[name] for name in ("validated",) if name in there}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        for number, row in enumerate(table_of(place, ("client_id", "path", "sentence")), 2):
            path = row["path"] or f"line {number} without a path"
            audio = self.path / "clips" / (path if Path(path).suffix else f"{path}.mp3")
            labels = {"gender": row.get("gender") or "", "language": row.get("locale") or ""}
            yield self.entry(Path(path).stem, audio, row["sentence"] or "", row["client_id"], **labels)


class VoxPopuli(PublishedCorpus):
    """``YEAR/ID.ogg`` and ``asr_SPLIT.tsv`` of one language of the transcribed part (Wang et al., 2021).

    The text is the published one, or where that is missing the normalised one.
    """

    expected = "one language of VoxPopuli's transcribed_data: years, and asr_train.tsv and the like"

    def splits(self) -> Mapping[str, Path]:
        found = ((name, self.path / f"asr_{name}.tsv") for name in ("train", "dev", "test"))
        return {name: place for name, place in found if place.is_file()}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        language = self.path.resolve().name.split("_")[0]  # en_accented is English
        for row in table_of(place, ("id", "raw_text", "normalized_text", "speaker_id", "gender")):
            audio = self.path / row["id"][:4] / f"{row['id']}.ogg"
            text = row["raw_text"] or row["normalized_text"] or ""
            yield self.entry(row["id"], audio, text, row["speaker_id"], gender=row["gender"], language=language)


def rows_of(path: Path, separator: str) -> Iterator[tuple[str, str]]:
    """First field and rest of each line.

    Raises:
        DataError: the file cannot be read, or a line has one field.
    """
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            id, found, rest = line.partition(separator)
            if not found:
                raise DataError(f"{path}: line {number} is {line[:60]!r}, expected ID{separator}TEXT")
            yield id.strip(), rest


def table_of(path: Path, columns: tuple[str, ...], separator: str = "\t") -> Iterator[dict[str, str]]:
    """Rows of a table, nothing quoted.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    rows = csv.DictReader(text_of(path).splitlines(), delimiter=separator, quoting=csv.QUOTE_NONE)
    missing = set(columns) - set(rows.fieldnames or ())
    if missing:
        raise DataError(f"{path}: has the columns {rows.fieldnames}, expected {', '.join(sorted(missing))} too")
    yield from rows


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}), expected transcripts: copy it again") from error


def librispeech(config: Config) -> LibriSpeech:
    return LibriSpeech(config)


def ljspeech(config: Config) -> LJSpeech:
    return LJSpeech(config)


def mls(config: Config) -> MultilingualLibriSpeech:
    return MultilingualLibriSpeech(config)


def common_voice(config: Config) -> CommonVoice:
    return CommonVoice(config)


def voxpopuli(config: Config) -> VoxPopuli:
    return VoxPopuli(config)
