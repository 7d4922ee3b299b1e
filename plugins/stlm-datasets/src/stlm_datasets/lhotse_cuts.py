"""`CutSource`: cuts of lhotse (.jsonl or .jsonl.gz), each with the stretch and channel of its recording.

The text of a cut is that of its supervisions in order of time, word times are their ``word`` alignments. Recordings
must be files: what lhotse would run as a command, mix or transform is rejected. Cuts are read line by line, so that a
broken one costs no other.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from stlm.audio import Place, probe_audio
from stlm.errors import ConfigError, DataError, PluginError, StlmError
from stlm.interfaces import Source
from stlm.types import AudioRef, Rejected, Utterance, Word

SILENCES = ("", "<eps>", "sil", "sp", "<sil>")
ROUNDING = 0.025
"""Seconds by which a cut may reach beyond its recording, or a word into the one before, and is clipped."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the component ``lhotse``.

    Args:
        path: a file of cuts, or a folder with files named ``*cuts*.jsonl`` or ``*cuts*.jsonl.gz``.
        root: folder that paths of recordings are relative to; empty: the working directory.
    """

    path: str = ""
    root: str = ""


def build(config: Config) -> CutSource:
    return CutSource(config)


class CutSource(Source):
    """Options as in `Config`.

    Raises:
        ConfigError: no path. DataError: there are no cuts. PluginError: lhotse is not installed.
    """

    def __init__(self, config: Config) -> None:
        if not config.path:
            raise ConfigError("source lhotse needs path: set source.path=FILE_OR_DIR")
        _lhotse()
        self.root = Path(config.root)
        path = Path(config.path)
        found = path.rglob("*cuts*.jsonl*") if path.is_dir() else [path]
        self.files = sorted(file for file in found if file.name.endswith((".jsonl", ".jsonl.gz")) and file.is_file())
        if not self.files:
            raise DataError(f"{config.path}: no cuts here, expected .jsonl or .jsonl.gz as CutSet.to_file writes them")

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        place = 0
        for file in self.files:
            number = 0
            try:
                with cast("Any", gzip.open(file) if file.suffix == ".gz" else file.open("rb")) as lines:
                    for number, line in enumerate(lines, 1):
                        if place % num_shards == shard and line.strip():
                            yield from self._read(f"{file.name}:{number}", file, line)
                        place += 1
            except (OSError, EOFError) as error:
                if place % num_shards == shard:
                    reason = f"{file}: cannot be read further ({error}): copy it again"
                    yield Rejected(id=f"{file.name}:{number + 1}", uri=str(file), reason=reason)
                place += 1

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of names, sizes and times of the files of cuts."""
        states = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in self.files]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()

    def _read(self, line_id: str, file: Path, line: bytes) -> Iterator[Utterance | Rejected]:
        try:
            cut = _lhotse().serialization.deserialize_item(json.loads(line))
            id = str(cut.id)
            audio = self._audio(cut)
            spoken = sorted(cut.supervisions, key=lambda supervision: supervision.start)
        except StlmError as error:
            yield Rejected(id=id, uri=str(file), reason=f"{id}: {error}")
            return
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
            reason = f"{line_id} is no cut ({type(error).__name__}: {error}), expected what CutSet.to_file writes"
            yield Rejected(id=line_id, uri=str(file), reason=reason)
            return
        text = " ".join(said.text.strip() for said in spoken if said.text and said.text.strip()) or None
        speakers = {said.speaker for said in spoken if said.speaker}
        told = [(name, getattr(said, name)) for said in spoken for name in ("language", "gender")]
        plain = Utterance(
            id=id,
            audio=audio,
            text=text,
            speaker=speakers.pop() if len(speakers) == 1 else None,
            labels={name: value for name, value in told if value},
        )
        if text is None:
            reason = f"{id}: no transcript, expected supervisions with text"
            yield Rejected(id=id, uri=audio.uri, reason=reason, kept_as="speech without text")
        try:
            items = [item for said in spoken for item in (said.alignment or {}).get("word", ())]
            yield replace(plain, words=_words(items, text or "", audio))
        except DataError as error:
            yield Rejected(id=id, uri=audio.uri, reason=f"{id}: {error}", kept_as="utterance without word times")
            yield plain

    def _audio(self, cut: Any) -> AudioRef:
        """The stretch and channel of the file that a cut is.

        Raises:
            DataError: it is more than that, or the file does not hold it.
        """
        lhotse = _lhotse()
        if not isinstance(cut, lhotse.MonoCut | lhotse.MultiCut) or cut.recording is None:
            raise DataError(f"is a {type(cut).__name__}, expected a cut of one recording: save the audio first")
        recording = cut.recording
        if recording.transforms:
            raise DataError("lhotse transforms the recording as it reads it: save the audio of the cuts first")
        channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
        found = [source for source in recording.sources if set(channels) <= set(source.channels)]
        if not found or found[0].type != "file" or len(channels) not in (1, len(found[0].channels)):
            kinds = ", ".join(f"{source.type} with channels {source.channels}" for source in recording.sources)
            raise DataError(f"channel {channels} of sources of {kinds}, expected one channel, or all, of one file")
        source = found[0]
        channel = source.channels.index(channels[0]) if len(channels) < len(source.channels) else None
        whole = probe_audio(Place(path=self.root / source.source, channel=channel).uri)
        first, count = round(cut.start * whole.sample_rate), round(cut.duration * whole.sample_rate)
        over = first + count - whole.num_samples
        if recording.sampling_rate != whole.sample_rate or over > ROUNDING * whole.sample_rate:
            raise DataError(
                f"{whole.uri}: has {whole.seconds:.2f} s at {whole.sample_rate} Hz, expected {cut.end:.2f} s at "
                f"{recording.sampling_rate} Hz: make the manifest anew"
            )
        return replace(whole, start=first, num_samples=count - max(over, 0))


def _words(items: Sequence[Any], text: str, audio: AudioRef) -> tuple[Word, ...]:
    """Aligned words at their places in the text, whatever their case; times count from the start of the cut.

    Raises:
        DataError: a word is not in the text after the one before.
    """
    words: list[Word] = []
    slack = round(ROUNDING * audio.sample_rate)
    for item in sorted(items, key=lambda item: item.start):
        if item.symbol.lower() in SILENCES:
            continue
        after, before = (words[-1].char_end, words[-1].end) if words else (0, 0)
        found = re.compile(rf"(?<!\w){re.escape(item.symbol)}(?!\w)", re.IGNORECASE).search(text, after)
        if found is None:
            raise DataError(f"word {item.symbol!r} does not occur in the text after character {after}")
        start, end = (round(edge * audio.sample_rate) for edge in (item.start, item.start + item.duration))
        start = before if before - slack <= start < before < end else start
        end = audio.num_samples if start < audio.num_samples < end <= audio.num_samples + slack else end
        words.append(
            Word(
                text=found.group(),
                start=start,
                end=end,
                char_start=found.start(),
                char_end=found.end(),
                score=item.score,
            )
        )
    return tuple(words)


def _lhotse() -> Any:
    try:
        return import_module("lhotse")
    except ImportError as error:
        raise PluginError("source lhotse needs that package: pip install 'stlm-datasets[lhotse]'") from error
