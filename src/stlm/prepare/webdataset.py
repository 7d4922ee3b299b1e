"""WebDataset tars: the files ``KEY.flac`` (or .wav, .mp3, .ogg, .opus), ``KEY.txt`` and ``KEY.json`` are one sample.

The text is that of ``KEY.txt``, or else a field of ``KEY.json``, which may also tell speaker, labels and ``words`` as a
manifest does (`stlm.prepare.folder`). Nothing is unpacked: an utterance refers to its audio in the tar. A sample
without audio is a text.

Parts are dealt by tar, so that each reads few of them; where there are more parts than tars, those which share a tar
take its samples in turn.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stlm.audio import read_member, tar_index
from stlm.errors import ConfigError, DataError
from stlm.interfaces.source import Source
from stlm.prepare.folder import AUDIO_SUFFIXES
from stlm.prepare.recorded import LABELS, Entry, fingerprint_of, not_utf8, read_entry
from stlm.types import Rejected, Utterance


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `WebDataset`.

    Args:
        path: a .tar file, a folder with such files anywhere in it, or a pattern ("data/train-*.tar").
        text: field of the .json that holds the transcript, for samples without .txt.
        speaker: field of the .json that names the speaker.
    """

    path: str = ""
    text: str = "text"
    speaker: str = "speaker"


class WebDataset(Source):
    """Options as in `Config`.

    Raises:
        ConfigError: no path. DataError: there is no tar.
    """

    def __init__(self, config: Config) -> None:
        if not config.path:
            raise ConfigError("source webdataset needs path: set source.path=FILE, DIR or 'DIR/*.tar'")
        self.config = config
        path = Path(config.path)
        found = path.rglob("*.tar") if path.is_dir() else map(Path, glob.glob(config.path, recursive=True))
        self.tars = sorted(path for path in found if path.is_file())
        if not self.tars:
            raise DataError(f"{config.path}: no .tar file here, expected samples of WebDataset")
        self._root = Path(os.path.commonpath([path.parent for path in self.tars]))

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        tars, turn, sharing = _dealt(self.tars, shard, num_shards)
        for tar in tars:
            name = str(tar.relative_to(self._root).with_suffix(""))
            try:
                index = tar_index(tar)
                fault = index.fault and f"{tar}: {index.fault}: copy it again"
                samples = list(_samples(index.files).items())[turn::sharing]
            except DataError as error:
                fault, samples = str(error), []
            if fault and turn == 0:
                yield Rejected(id=name, uri=str(tar), reason=fault)
            for key, files in samples:
                yield from self._read(f"{name}/{key}", tar, files)

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of names, sizes and times of the part's tars."""
        return fingerprint_of(_dealt(self.tars, shard, num_shards)[0])

    def _read(self, id: str, tar: Path, files: Mapping[str, str]) -> Iterator[Utterance | Rejected]:
        sounds = [name for suffix, name in files.items() if suffix in AUDIO_SUFFIXES]
        if len(sounds) > 1:
            reason = f"{id}: has the audio files {', '.join(sounds)}, expected one: rename the others"
            yield Rejected(id=id, uri=str(tar), reason=reason)
            return
        row: dict[str, Any] = {}
        text, note = None, f"no transcript: expected a .txt, or {self.config.text!r} in a .json, of that name"
        try:
            row = _row(tar, files[".json"]) if ".json" in files else {}
            text = _text(tar, files[".txt"]) if ".txt" in files else row.get(self.config.text)
            if not isinstance(text, str | None):
                raise DataError(f"{id}: {self.config.text!r} is {str(text)[:40]!r}, expected a text")
        except DataError as error:
            text, note = None, str(error)
        text = (text or "").strip() or None
        if sounds:
            known = {name: row[name] for name in ("words", *LABELS) if name in row}
            known["speaker"] = row.get(self.config.speaker)
            note = None if text else note
            yield from read_entry(Entry(id=id, audio=tar, member=sounds[0], text=text, row=known, note=note))
        elif text:
            yield Utterance(id=id, text=text)
        else:
            yield Rejected(id=id, uri=str(tar), reason=f"no audio, and {note}")


def _dealt(tars: Sequence[Path], shard: int, num_shards: int) -> tuple[Sequence[Path], int, int]:
    """The tars of a part, and its turn among how many that share them."""
    if num_shards <= len(tars):
        return tars[shard::num_shards], 0, 1
    first = shard % len(tars)
    return [tars[first]], shard // len(tars), len(range(first, num_shards, len(tars)))


def _samples(names: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Names of files by key, which ends at the file name's first dot, and by last suffix. Hidden files are left out."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        folder, _, file = name.removeprefix("./").rpartition("/")
        base = file.partition(".")[0]
        if base:
            found.setdefault(f"{folder}/{base}" if folder else base, {})[Path(file).suffix.lower()] = name
    return found


def _text(tar: Path, name: str) -> str:
    try:
        return read_member(tar, name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{tar}: {name} {not_utf8(error)}") from error


def _row(tar: Path, name: str) -> dict[str, Any]:
    try:
        row = json.loads(_text(tar, name))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{tar}: {name} is no JSON ({error}), expected an object") from error
    if not isinstance(row, dict):
        raise DataError(f"{tar}: {name} is {str(row)[:40]!r}, expected a JSON object")
    return row


def build(config: Config) -> WebDataset:
    return WebDataset(config)
