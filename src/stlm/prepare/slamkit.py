"""Units that SlamKit extracted: JSON lines ``{"units": […], "duration": […], "file_name": …, "aligned_text": […]}``.

``units`` are deduplicated, ``duration`` holds the length of each run in frames; both give the frame-level stream back.
``aligned_text``, where it is there, lists ``{"word", "start_time", "end_time"}`` in seconds and makes text and word
times. Audio is not opened: an utterance refers to ``file_name`` as 16 kHz sound of as many samples as its frames cover.
SlamKit appends to its output when it is started again; rows that are there twice come twice.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from stlm.errors import ConfigError, DataError, StlmError
from stlm.interfaces.source import Source
from stlm.prepare.recorded import Entry, described, fingerprint_of
from stlm.types import AudioRef, Rejected, StreamSpec, Units, Utterance, as_codes

SAMPLE_RATE = 16000
"""Hz, of the encoders that SlamKit uses."""
OVERHANG = 2
"""Frames by which a sound may be longer than its units cover: a begun one, and what the first one needs more."""
SUFFIXES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `SlamKit`.

    Args:
        path: a file of features (not of tokens, which have no durations), or a folder with such files anywhere in it.
        fingerprint: names the tokenizer that made the units, such as "slprl/mhubert-base-25hz layer 11 km500": streams
            of different names never mix.
        stream: name of the stream.
        num_units: size of its codebook.
        frame_rate_hz: its frame rate.
    """

    path: str = ""
    fingerprint: str = ""
    stream: str = "hubert"
    num_units: int = 500
    frame_rate_hz: float = 25.0


class SlamKit(Source):
    """Options as in `Config`.

    Raises:
        ConfigError: no path, no fingerprint, or a frame that is no whole number of samples at 16 kHz.
        DataError: there is no such file.
    """

    def __init__(self, config: Config) -> None:
        if not config.path:
            raise ConfigError("source slamkit needs path: set source.path=FILE_OR_DIR")
        if not config.fingerprint:
            raise ConfigError("source slamkit needs fingerprint: name the tokenizer, as source.fingerprint=NAME")
        if config.num_units < 1 or config.frame_rate_hz <= 0 or SAMPLE_RATE % config.frame_rate_hz:
            raise ConfigError(
                f"num_units must be positive, got {config.num_units}, and frame_rate_hz must divide {SAMPLE_RATE} Hz, "
                f"got {config.frame_rate_hz:g}"
            )
        self.config = config
        path = Path(config.path)
        self.files = sorted(file for file in (path.rglob("*") if path.is_dir() else [path]) if _is_features(file))
        if not self.files:
            raise DataError(f"{config.path}: no {' or '.join(SUFFIXES)} here, expected features that SlamKit extracted")
        self._root = path if path.is_dir() else path.parent
        made_by = f"slamkit {config.fingerprint} {config.num_units} {config.frame_rate_hz:g}"
        hop = round(SAMPLE_RATE / config.frame_rate_hz)
        self.spec = StreamSpec(
            name=config.stream,
            codebook_sizes=(config.num_units,),
            sample_rate=SAMPLE_RATE,
            hop=hop,
            window=hop,
            fingerprint=hashlib.sha256(made_by.encode()).hexdigest(),
        )

    def streams(self) -> Mapping[str, StreamSpec]:
        return {self.spec.name: self.spec}

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        place = 0
        for file in self.files:
            number, name = 0, str(file.relative_to(self._root))
            try:
                with cast("Any", gzip.open(file) if file.suffix == ".gz" else file.open("rb")) as lines:
                    for number, line in enumerate(lines, 1):
                        if not line.strip():
                            continue
                        if place % num_shards == shard:
                            yield from self._read(f"{name}:{number}", file, line)
                        place += 1
            except (OSError, EOFError) as error:
                if place % num_shards == shard:
                    reason = f"{file}: cannot be read further ({error}): copy it again"
                    yield Rejected(id=f"{name}:{number + 1}", uri=str(file), reason=reason)
                place += 1

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of names, sizes and times of the files."""
        return fingerprint_of(self.files)

    def _read(self, id: str, file: Path, line: bytes) -> Iterator[Utterance | Rejected]:
        try:
            row = json.loads(line)
            units = self._units(row)
            words = self._words(row, len(units))
            name = str(row.get("file_name") or "")
        except (ValueError, KeyError, TypeError, RecursionError, StlmError) as error:
            said = str(error) if isinstance(error, StlmError) else f"{type(error).__name__}: {error}"
            reason = f"{id}: no row of SlamKit's features ({said}), expected units and duration: extract it again"
            yield Rejected(id=id, uri=str(file), reason=reason)
            return
        text = " ".join(word["word"] for word in words) or None
        audio = AudioRef(uri=name, sample_rate=SAMPLE_RATE, num_samples=len(units) * self.spec.hop)
        yield from described(Entry(id=id, audio=file, text=text, row={"words": words}), audio, {self.spec.name: units})

    def _words(self, row: Mapping[str, Any], num_frames: int) -> list[dict[str, Any]]:
        """Rows as in a manifest. The last frame ends before the sound does: a word that reaches beyond ends with it."""
        last = num_frames / self.config.frame_rate_hz
        words: list[dict[str, Any]] = []
        for word in row.get("aligned_text") or []:
            label, end = str(word["word"]).strip(), float(word["end_time"])
            end = last if last < end < last + OVERHANG / self.config.frame_rate_hz else end
            words += [{"word": label, "start": word["start_time"], "end": end}] if label else []
        return words

    def _units(self, row: Mapping[str, Any]) -> Units:
        runs, lengths = as_codes(row["units"]), as_codes(row["duration"])
        if not len(runs) or runs.shape[1] != 1 or runs.shape != lengths.shape or not lengths.all():
            raise DataError(
                f"{len(runs)} units and {len(lengths)} durations, expected as many of both and durations of 1 or more"
            )
        units = Units(spec=self.spec, codes=np.repeat(runs, lengths[:, 0], axis=0))
        units.check_range()
        return units


def _is_features(file: Path) -> bool:
    return file.name.endswith(SUFFIXES) and file.is_file()


def build(config: Config) -> SlamKit:
    return SlamKit(config)
