"""Expresso (Nguyen et al., 2023): expressive read speech and dialogues, 48 kHz, as it is unpacked.

``audio_48khz/read/…/SPEAKER_STYLE_….wav`` have a transcript each in ``read_transcriptions.txt``.
``audio_48khz/conversational/…/SPEAKER-SPEAKER_STYLE[-STYLE]_NUMBER.wav`` have none and two channels: each becomes an
utterance with its own speaker and style. ``splits/SPLIT.txt`` names recordings, and of long ones the section that is
meant; without a split, all recordings come whole, those in no split ("singing") too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from stlm.errors import DataError
from stlm.prepare.corpora import Config, PublishedCorpus, rows_of, text_of
from stlm.prepare.recorded import Entry

__all__ = ["Config", "Expresso", "build"]

SECTION = re.compile(r"\((?:([\d.]+)s)?,\s*(?:([\d.]+)s)?\)")
Section = tuple[float, float | None]


class Expresso(PublishedCorpus):
    """Options as in `Config`."""

    expected = "Expresso's audio_48khz, splits and read_transcriptions.txt"

    def splits(self) -> Mapping[str, Path]:
        found = {name: self.path / "splits" / f"{name}.txt" for name in ("train", "dev", "test")}
        if self.split:
            return {name: place for name, place in found.items() if place.is_file()}
        return {"all": self.path / "audio_48khz"} if (self.path / "audio_48khz").is_dir() else {}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        folder = self.path / "audio_48khz"
        recordings = {path.stem: path for path in sorted(folder.rglob("*.wav"))}
        texts = dict(rows_of(self.path / "read_transcriptions.txt", "\t"))
        listed = [(name, None) for name in recordings] if place.is_dir() else sections_of(place)
        for recording, section in listed:
            yield from self._parts(recordings.get(recording, folder / f"{recording}.wav"), section, texts)

    def _parts(self, audio: Path, section: Section | None, texts: Mapping[str, str]) -> Iterator[Entry]:
        """One entry, or one for each speaker of a dialogue."""
        speakers, _, rest = audio.stem.partition("_")
        styles = rest.partition("_")[0].split("-")
        suffix = "" if section is None else f"_{section[0]:g}-{'' if section[1] is None else f'{section[1]:g}'}"
        if "-" in speakers:
            for channel, speaker in enumerate(speakers.split("-")):
                id, style = f"{audio.stem}_{speaker}{suffix}", styles[channel % len(styles)]
                yield self.entry(id, audio, None, speaker, channel=channel, section=section, style=style, language="en")
            return
        text, note = texts.get(audio.stem, ""), None
        if section is not None:
            text, note = None, "no transcript: there is one of the whole recording, this is a section of it"
        yield self.entry(
            f"{audio.stem}{suffix}", audio, text, speakers, note=note, section=section, style=styles[0], language="en"
        )


def sections_of(path: Path) -> Iterator[tuple[str, Section | None]]:
    """Recordings of a split and the section of each that is meant; None: the whole.

    Raises:
        DataError: the file cannot be read, or a line is of another form.
    """
    for number, line in enumerate(text_of(path).splitlines(), 1):
        name, _, rest = line.partition("\t")
        if not name.strip() or name.startswith("#"):
            continue
        found = SECTION.findall(rest)
        if rest.strip() and not found:
            raise DataError(f"{path}: line {number} is {line[:60]!r}, expected a name, a tab and (STARTs,ENDs)")
        for start, end in found:
            yield name.strip(), (float(start or 0), float(end) if end else None)
        if not found:
            yield name.strip(), None


def build(config: Config) -> Expresso:
    return Expresso(config)
