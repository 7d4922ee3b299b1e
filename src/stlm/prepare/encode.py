"""A shard task: read a part of a source, encode it, write one shard. Idempotent and atomic."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from stlm.audio import read_audio
from stlm.errors import ConfigError, DataError, StlmError
from stlm.interfaces.source import Source
from stlm.interfaces.stage import Stage
from stlm.interfaces.unit_encoder import SpeechUnitEncoder, encode_streams
from stlm.plugin import Choice
from stlm.store import ShardWriter
from stlm.types import Audio, Rejected, StreamSpec, Units, Utterance


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
        batch_size: utterances encoded at once.
    """

    source: Choice
    encoders: Sequence[Choice] = ()
    stages: Sequence[Choice] = ()
    out: Path
    shard: int
    num_shards: int
    group_size: int = 256
    batch_size: int = 16

    @property
    def path(self) -> Path:
        return self.out / f"shard-{self.shard:05d}-of-{self.num_shards:05d}.parquet"

    @property
    def report_path(self) -> Path:
        return self.path.with_suffix(".json")

    def fingerprint(self, source: Source, encoders: Sequence[SpeechUnitEncoder]) -> str:
        """Hash of what decides the shard's content; paths may hold other recordings and codebooks by now."""
        content = {
            **asdict(self),
            "out": None,
            "inputs": source.fingerprint(self.shard, self.num_shards),
            "streams": [encoder.fingerprint for encoder in encoders],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What a task did."""

    fingerprint: str
    num_utterances: int
    num_seconds: float
    num_frames: Mapping[str, int]
    rejected: Sequence[Mapping[str, Any]]
    was_done: bool = False


def prepare_shard(task: ShardTask) -> ShardReport:
    """Write the task's shard, or return the report of an equal task that was completed before."""
    encoders: list[SpeechUnitEncoder] = [_speech_encoder(choice) for choice in task.encoders]
    source: Source = task.source.build("source")
    fingerprint = task.fingerprint(source, encoders)
    done = _completed(task, fingerprint)
    if done is not None:
        return done
    stream: Iterable[Utterance | Rejected] = source.utterances(task.shard, task.num_shards)
    for choice in task.stages:
        stage: Stage = choice.build("stage")
        stream = stage.apply(stream)
    return write_shard(task, encoders, stream, fingerprint)


def _speech_encoder(choice: Choice) -> SpeechUnitEncoder:
    encoder = choice.build("unit_encoder")
    if not isinstance(encoder, SpeechUnitEncoder):
        raise ConfigError(f"unit_encoders: {choice.name} encodes text, expected a speech unit encoder such as logmel")
    return encoder


def write_shard(
    task: ShardTask, encoders: Sequence[SpeechUnitEncoder], stream: Iterable[Utterance | Rejected], fingerprint: str
) -> ShardReport:
    """Encode a stream of utterances into the task's shard and write its report beside it."""
    specs: dict[str, StreamSpec] = {encoder.spec.name: encoder.spec for encoder in encoders}
    frames = dict.fromkeys(specs, 0)
    rejected: list[Rejected] = []
    task.out.mkdir(parents=True, exist_ok=True)
    with ShardWriter(task.path, specs, group_size=task.group_size) as writer:
        for batch in _batches(stream, task.batch_size, rejected):
            for item in encode_batch(batch, encoders):
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
        )
    # other jobs of an array read the reports of this directory at any time
    partial = task.report_path.with_name(f".{task.report_path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(asdict(report)) + "\n")
    partial.replace(task.report_path)
    return report


def encode_batch(batch: Sequence[Utterance], encoders: Sequence[SpeechUnitEncoder]) -> Iterator[Utterance | Rejected]:
    """Add streams to utterances with audio; each file is opened once. One that fails is rejected, the others go on."""
    if not encoders:
        yield from batch
        return
    loaded: list[tuple[Utterance, Audio]] = []
    for utterance in batch:
        if utterance.audio is None:
            yield utterance
            continue
        try:
            audio = utterance.audio if isinstance(utterance.audio, Audio) else read_audio(utterance.audio)
            loaded.append((utterance, audio))
        except StlmError as error:
            yield Rejected(id=utterance.id, reason=str(error), uri=getattr(utterance.audio, "uri", None))
    if not loaded:
        return
    encoded = _encode([audio for _, audio in loaded], encoders)
    for (utterance, _), streams in zip(loaded, encoded, strict=True):
        if isinstance(streams, StlmError):
            reason = f"{utterance.id}: {streams}"
            yield Rejected(id=utterance.id, reason=reason, uri=getattr(utterance.audio, "uri", None))
            continue
        empty = [name for name, found in streams.items() if not len(found)]
        if empty:
            seconds = utterance.audio.seconds if utterance.audio else 0.0
            reason = f"{utterance.id}: {seconds:.3f} s of audio are too short for a single unit of stream {empty[0]!r}"
            yield Rejected(id=utterance.id, reason=reason, uri=getattr(utterance.audio, "uri", None))
            continue
        yield utterance.with_streams(streams)


def _encode(sounds: Sequence[Audio], encoders: Sequence[SpeechUnitEncoder]) -> list[dict[str, Units] | StlmError]:
    """Streams of each sound; where an encoder refuses the batch, one by one, so that only the culprit is lost."""
    try:
        units = encode_streams({encoder.spec.name: encoder for encoder in encoders}, sounds)
    except StlmError as error:
        return [error] if len(sounds) == 1 else [_encode([sound], encoders)[0] for sound in sounds]
    return [{name: found[index] for name, found in units.items()} for index in range(len(sounds))]


def _batches(stream: Iterable[Utterance | Rejected], size: int, rejected: list[Rejected]) -> Iterator[list[Utterance]]:
    batch: list[Utterance] = []
    for item in stream:
        if isinstance(item, Rejected):
            rejected.append(item)
            continue
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


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
