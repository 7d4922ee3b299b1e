"""Telephone conversations in the layout of Fisher English (Cieri et al., 2004; LDC2004S13, LDC2004T19 and part 2).

A recording ``NAME.sph`` (or ``.wav``, ``.flac``) has a side on each of its two channels; ``NAME.txt``, anywhere below
the same folder, has a line ``START END A: words`` for each turn, in seconds. Each turn becomes an utterance: a section
of its side's channel. Words stay as published: ``(( … ))`` are uncertain. Who speaks is told by ``*_calldata.tbl``;
without it, each side of each call is a speaker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from stlm.errors import DataError
from stlm.prepare.corpora import Config, PublishedCorpus, table_of, text_of
from stlm.prepare.recorded import Entry

__all__ = ["Config", "Fisher", "build"]

SUFFIXES = (".flac", ".wav", ".sph")
"""Of recordings; a copy in a suffix further left is taken first, for some .sph files are compressed in a way
(shorten) that is not read here."""
SIDES = ("A", "B")
TURN = re.compile(r"(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)\s+([AB])\d*:(.*)")
GENDERS = {"f": "female", "m": "male"}


class Fisher(PublishedCorpus):
    """Options as in `Config`; there are no splits."""

    expected = f"recordings ({', '.join(SUFFIXES)}) of two channels and a .txt with the turns of each"

    def splits(self) -> Mapping[str, Path]:
        return {"all": self.path} if next(_files(self.path, SUFFIXES), None) else {}

    def read_split(self, name: str, place: Path) -> Iterator[Entry]:
        recordings = {path.stem: path for suffix in reversed(SUFFIXES) for path in _files(place, (suffix,))}
        # LDC's archives hold other .txt files too: documentation, and the material that trans was made from
        transcripts = {
            path.stem: path
            for path in _files(place, (".txt",))
            if path.stem in recordings or "trans" in path.relative_to(place).parts
        }
        calls = {
            row["CALL_ID"]: row
            for table in sorted(place.rglob("*_calldata.tbl"))
            for row in table_of(table, ("CALL_ID", "TOPICID", "APIN", "BPIN", "ASX.DL", "BSX.DL"), ",")
        }
        for call in sorted({*recordings, *transcripts}):
            audio = recordings.get(call, place / f"{call}.sph")
            row = calls.get(call.rpartition("_")[2], {})
            yield from self._turns(call, audio, transcripts.get(call), row)

    def _turns(self, call: str, audio: Path, transcript: Path | None, row: Mapping[str, str]) -> Iterator[Entry]:
        speakers = {side: row.get(f"{side}PIN") or f"{call}-{side}" for side in SIDES}
        labels = {
            side: {"gender": GENDERS.get((row.get(f"{side}SX.DL") or "")[:1], ""), "topic": row.get("TOPICID") or ""}
            for side in SIDES
        }
        if transcript is None:
            note = f"no transcript: expected {call}.txt with its turns"
            for channel, side in enumerate(SIDES):
                yield self.entry(
                    f"{call}-{side}", audio, None, speakers[side], note=note, channel=channel, **labels[side]
                )
            return
        try:
            lines = text_of(transcript).splitlines()
        except DataError as error:
            yield Entry(id=call, audio=audio, text=None, row={"broken": str(error)})
            return
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            turn = TURN.fullmatch(line.strip())
            if turn is None:
                reason = f"{transcript}: line {number} is {line[:60]!r}, expected START END A: WORDS"
                yield Entry(id=f"{call}:{number}", audio=audio, text=None, row={"broken": reason})
                continue
            side, text = turn[3], turn[4] if any(letter.isalnum() for letter in turn[4]) else ""
            yield self.entry(
                f"{call}-{side}-{number:05d}",
                audio,
                text,
                speakers[side],
                channel=SIDES.index(side),
                section=(float(turn[1]), float(turn[2])),
                **labels[side],
            )


def _files(place: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    return (path for path in sorted(place.rglob("*")) if path.suffix.lower() in suffixes)


def build(config: Config) -> Fisher:
    return Fisher(config)
