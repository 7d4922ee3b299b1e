"""A directory of shards in, its faults out: all that makes it differ from what preparation promised.

Every utterance is read as training reads it, page checksums included. Memory: one row-group, and 8 bytes an utterance.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from stlm.errors import DataError, FormatError, StlmError
from stlm.store.place import faults_of, files, first_line, place
from stlm.store.reader import Group, Shard
from stlm.types import StreamSpec, Units, Utterance

PART = re.compile(r"shard-(\d+)-of-(\d+)")
MEND = "delete it and prepare again"


def verify(directory: str | Path, parts: Collection[int] | None = None) -> Iterator[str]:
    """Every fault as one line; nothing where the shards are sound.

    Args:
        directory: of the shards, local or a URL.
        parts: which shards of the division, as in ``shard-PART-of-N``; None for all that there should be.

    Raises:
        DataError: there is no shard, or the directory cannot be reached.
    """
    directory = place(directory)
    paths = [path for path in files(directory, "*.parquet") if parts is None or _part(path)[0] in parts]
    if not paths:
        raise DataError(f"{directory}: no *.parquet shard here: make some with stlm prepare out={directory}")
    yield from _division(directory, parts)
    first: Shard | None = None
    digests: list[np.ndarray] = []
    for path in tqdm(paths, desc="verify", unit="shard"):
        try:
            shard = _opened(path)
        except StlmError as error:
            yield str(error)
            continue
        first = first or shard
        yield from _disagreement(shard, first)
        for index in range(shard.num_groups):
            try:
                group = shard.group(index)
                digests.append(_digests(group.ids))
                yield from (f"{path}: {fault}" for fault in _faults(group))
            except DataError as error:
                yield str(error)
            except ValueError as error:  # bytes that are no text, in a shard without checksums
                yield f"{path}: row-group {index} is damaged ({error}): {MEND}"
    yield from _repeated(paths, digests)


def _part(path: Path) -> tuple[int, int]:
    """Place and number of a shard after its name; (-1, 0) where the name has none."""
    found = PART.fullmatch(path.stem)
    return (int(found[1]), int(found[2])) if found else (-1, 0)


def _division(directory: Path, parts: Collection[int] | None) -> Iterator[str]:
    """Shards that are missing, by the names of those that are there and of the reports beside them."""
    there = {_part(path) for path in files(directory, "shard-*.parquet")} - {(-1, 0)}
    numbers = {number for _, number in there | {_part(path) for path in files(directory, "shard-*.json")} if number}
    if len(numbers) > 1:
        listed = " and ".join(map(str, sorted(numbers)))
        yield f"{directory}: holds shards of divisions into {listed}, expected one: delete those that are not wanted"
    for number in sorted(numbers):
        for part in range(number) if parts is None else sorted(parts):
            if (part, number) not in there:
                yield f"{directory}/shard-{part:05d}-of-{number:05d}.parquet: is missing: prepare again"


def _opened(path: Path) -> Shard:
    """A shard that is what its report says; bytes that have changed are not read, as they can crash what reads them."""
    report = _report(path)
    if "sha256" in report and report["sha256"] != _sha256(path):
        raise DataError(f"{path}: its bytes are not those that were written: {MEND}")
    shard = Shard(path)
    told = report.get("num_utterances", shard.num_utterances)
    if told != shard.num_utterances:
        raise DataError(f"{path}: holds {shard.num_utterances} utterances, its report says {told}: {MEND}")
    return shard


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except faults_of(path) as error:
        raise DataError(f"{path}: cannot be read ({first_line(error)}): {MEND}") from error


def _report(path: Path) -> dict[str, Any]:
    """What preparation noted beside a shard; empty where the shard's name is not one that preparation gives."""
    if not _part(path)[1]:
        return {}
    report = path.with_suffix(".json")
    try:
        content = json.loads(report.read_text())
        return {"num_utterances": int(content["num_utterances"]), **content}
    except (*faults_of(report), ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{report}: cannot be read as the report of its shard ({type(error).__name__}): prepare again"
        ) from error


def _disagreement(shard: Shard, first: Shard) -> Iterator[str]:
    for name in sorted({*shard.streams, *first.streams}):
        here, there = (_fingerprint(one, name) for one in (shard, first))
        if here != there:
            yield (
                f"{shard.path}: stream {name!r} has fingerprint {here}, {first.path.name} has {there}: "
                "prepare both with the same encoder"
            )


def _fingerprint(shard: Shard, stream: str) -> str:
    return shard.streams[stream].fingerprint[:12] if stream in shard.streams else "none"


def _faults(group: Group) -> Iterator[str]:
    for row, id in enumerate(group.ids):
        try:
            utterance = group.utterance(row)
        except (StlmError, ValueError) as error:
            message = str(error)
            yield message if message.startswith(f"{id}:") else f"{id}: {message}"
            continue
        if utterance.streams and len(utterance.streams) < len(group.streams):
            yield f"{id}: has the streams {sorted(utterance.streams)}, expected all of {sorted(group.streams)}: {MEND}"
        for units in utterance.streams.values():
            yield from (f"{id}: {fault}: {MEND}" for fault in _unit_faults(utterance, units))


def _unit_faults(utterance: Utterance, units: Units) -> Iterator[str]:
    try:
        units.check_range()
    except FormatError as error:
        yield str(error)
    if utterance.audio is None:
        return
    rate, samples = utterance.audio.sample_rate, utterance.audio.num_samples
    least, most = _promised(units.spec, rate, samples)
    if not least <= len(units) <= most:
        expected = f"{least}" if least == most else f"{least} to {most}"
        name = units.spec.name
        yield f"stream {name!r} has {len(units)} frames, expected {expected} for {samples} samples at {rate} Hz"


def _promised(spec: StreamSpec, rate: int, samples: int) -> tuple[int, int]:
    """Least and most frames that so many samples give; a resampled length is known but for one sample."""
    if rate == spec.sample_rate:
        return spec.num_frames(samples), spec.num_frames(samples)
    resampled = round(samples * spec.sample_rate / rate)
    return spec.num_frames(max(0, resampled - 1)), spec.num_frames(resampled + 1)


def _digests(ids: Sequence[str]) -> np.ndarray:
    """``uint64[N]``, a hash of each id."""
    return np.frombuffer(b"".join(hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids), np.uint64)


def _repeated(paths: Sequence[Path], digests: Sequence[np.ndarray]) -> Iterator[str]:
    """Ids that occur again, by the shards that hold them; ids are read once more only where two hashes are equal."""
    found = np.sort(np.concatenate([np.empty(0, np.uint64), *digests]))
    twice = set(found[1:][found[1:] == found[:-1]].tolist())
    first: dict[str, Path] = {}
    again: defaultdict[tuple[Path, Path], list[str]] = defaultdict(list)
    for path in paths if twice else ():
        for id in _ids(path):
            if int(_digests([id])[0]) not in twice:
                continue
            if id in first:
                again[first[id], path].append(id)
            else:
                first[id] = path
    for (one, other), ids in again.items():
        yield (
            f"{other}: holds {len(ids)} ids that are in {one.name} already, such as {ids[0]!r}: delete the shard that "
            "should not be there, or give each input an id of its own"
        )


def _ids(path: Path) -> Iterator[str]:
    """All that can be read; that the rest cannot has been said."""
    with suppress(StlmError):
        shard = _opened(path)
        for index in range(shard.num_groups):
            with suppress(DataError, ValueError):
                yield from shard.group(index, frozenset()).ids
