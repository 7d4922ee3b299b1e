"""A shard task: read a part of a source, encode it, write one shard. Idempotent and atomic."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stlm.errors import ConfigError, DataError
from stlm.interfaces.source import Source
from stlm.interfaces.stage import Stage
from stlm.interfaces.unit_encoder import SpeechUnitEncoder
from stlm.plugin import Choice
from stlm.prepare.pipeline import Limits, encode_utterances
from stlm.store import ShardWriter
from stlm.store.place import new_file
from stlm.types import Rejected, Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One of `num_shards` parts of a corpus.

    Args:
        source: the corpus.
        encoders: speech unit encoders; none for text-only corpora.
        stages: steps between the source and the encoders.
        out: directory of the shards.
        shard, num_shards: which part.
        group_size: utterances per row-group.
        limits: how much is read and encoded at once.
        run: tasks of one run share what they are made of within a process; "" makes it anew.
        is_alone: the only task of its run; it shows a bar of its own, of utterances.
    """

    source: Choice
    encoders: Sequence[Choice] = ()
    stages: Sequence[Choice] = ()
    out: Path
    shard: int
    num_shards: int
    group_size: int = 256
    limits: Limits = field(default_factory=Limits)
    run: str = ""
    is_alone: bool = False

    @property
    def path(self) -> Path:
        return self.out / f"shard-{self.shard:05d}-of-{self.num_shards:05d}.parquet"

    @property
    def report_path(self) -> Path:
        return self.path.with_suffix(".json")

    def fingerprint(self, parts: Parts) -> str:
        """Hash of what decides the shard's content; paths may hold other recordings and codebooks by now."""
        content = {
            **asdict(replace(self, limits=replace(self.limits, readers=0), run="", is_alone=False)),
            "out": None,
            "code": version("stlm"),
            "inputs": parts.source.fingerprint(self.shard, self.num_shards),
            "streams": [spec.fingerprint for spec in parts.source.streams().values()]
            + [encoder.fingerprint for encoder in parts.encoders],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What a task did; `sha256` is the shard's."""

    fingerprint: str
    num_utterances: int
    num_seconds: float
    num_frames: Mapping[str, int]
    rejected: Sequence[Mapping[str, Any]]
    sha256: str
    was_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a task needs built: models are loaded and corpora listed once for all tasks of a run in a process."""

    source: Source
    stages: Sequence[Stage]
    encoders: Sequence[SpeechUnitEncoder]


def prepare_shard(task: ShardTask) -> ShardReport:
    """Write the task's shard, or return the report of an equal task that was completed before."""
    parts = _parts_of(task)
    fingerprint = task.fingerprint(parts)
    done = _completed(task, fingerprint)
    if done is not None:
        return done
    stream: Iterable[Utterance | Rejected] = parts.source.utterances(task.shard, task.num_shards)
    for stage in parts.stages:
        stream = stage.apply(stream)
    return write_shard(task, parts, stream, fingerprint)


_KEPT: dict[str, Parts] = {}
"""Parts of the run that this process works for, by its name."""


def _parts_of(task: ShardTask) -> Parts:
    if task.run not in _KEPT:
        parts = Parts(
            encoders=[_speech_encoder(choice) for choice in task.encoders],
            source=task.source.build("source"),
            stages=[choice.build("stage") for choice in task.stages],
        )
        if not task.run:
            return parts
        _KEPT.clear()
        _KEPT[task.run] = parts
    return _KEPT[task.run]


def forget_parts() -> None:
    """Free what the last run of this process had built."""
    _KEPT.clear()


def _speech_encoder(choice: Choice) -> SpeechUnitEncoder:
    encoder = choice.build("unit_encoder")
    if not isinstance(encoder, SpeechUnitEncoder):
        raise ConfigError(f"unit_encoders: {choice.name} encodes text, expected a speech unit encoder such as logmel")
    return encoder


def write_shard(task: ShardTask, parts: Parts, stream: Iterable[Utterance | Rejected], fingerprint: str) -> ShardReport:
    """Encode a stream of utterances into the task's shard and write its report beside it."""
    specs = {**parts.source.streams(), **{encoder.spec.name: encoder.spec for encoder in parts.encoders}}
    frames = dict.fromkeys(specs, 0)
    rejected: list[Rejected] = []
    task.out.mkdir(parents=True, exist_ok=True)
    with ShardWriter(task.path, specs, group_size=task.group_size) as writer:
        for item in _with_bar(task, parts, encode_utterances(stream, parts.encoders, task.limits)):
            if isinstance(item, Rejected):
                rejected.append(item)
                continue
            try:
                writer.write(item)
            except DataError as error:
                rejected.append(Rejected(id=item.id, reason=str(error), uri=getattr(item.audio, "uri", None)))
                continue
            for name, units in item.streams.items():
                frames[name] += len(units)
    report = ShardReport(
        fingerprint=fingerprint,
        num_utterances=writer.num_utterances,
        num_seconds=writer.num_seconds,
        num_frames=frames,
        rejected=[asdict(item) for item in rejected],
        sha256=writer.sha256,
    )
    with new_file(task.report_path) as partial:
        partial.write_text(json.dumps(asdict(report)) + "\n")
    return report


def _with_bar(task: ShardTask, parts: Parts, items: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
    """Shows utterances and seconds of sound a second; a job of an array has hours of work and one shard."""
    seconds, start = 0.0, time.monotonic()
    share = len(range(task.shard, len(parts.source), task.num_shards))
    with tqdm(total=share or None, unit="utterance", desc=task.path.stem, disable=not task.is_alone) as bar:
        for item in items:
            yield item
            if isinstance(item, Utterance) and item.audio is not None:
                seconds += item.audio.seconds
                speed = seconds / max(1e-9, time.monotonic() - start)
                bar.set_postfix_str(f"{seconds / 60:.1f} min, {speed:.0f} x real time", refresh=False)
            bar.update()


def _completed(task: ShardTask, fingerprint: str) -> ShardReport | None:
    if not (task.path.exists() and task.report_path.exists()):
        return None
    try:
        report = ShardReport(**json.loads(task.report_path.read_text()))
    except (ValueError, TypeError):
        return None
    return replace(report, was_done=True) if report.fingerprint == fingerprint else None


def all_rejected(reports: Iterable[ShardReport]) -> list[Mapping[str, Any]]:
    """The rejected inputs of all reports."""
    return list(chain.from_iterable(report.rejected for report in reports))


def count_rejected(items: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """How many inputs could not be used at all, and how many only in part, however many notes each has."""
    notes = list(items)
    lost = {(item["id"], item["uri"]) for item in notes if not item["kept_as"]}
    return len(lost), len({(item["id"], item["uri"]) for item in notes} - lost)
