"""Utterances in, utterances with units out: read ahead, resampled once for each rate, batched by length, in order.

A pool of utterances is read by threads while the pool before it is encoded. Within a pool, a batch holds utterances of
about one length, so that encoders which pad waste little; what comes out is in the order of what went in. Pools and
batches are cut from one task's utterances alone, so they do not depend on how tasks are dealt to workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from stlm.audio import audio_of, resample
from stlm.errors import StlmError
from stlm.interfaces.unit_encoder import SpeechUnitEncoder
from stlm.types import Audio, Rejected, Units, Utterance

Item = TypeVar("Item")
POOL = 4
"""Batches in a pool: enough to find utterances of about one length, few enough to hold two pools in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is read and encoded at once.

    Args:
        utterances: in a batch.
        seconds: in a batch, unless one utterance alone is longer.
        longest: seconds; a longer utterance is rejected, for one of hours fills the memory.
        readers: threads that read and resample.
    """

    utterances: int = 16
    seconds: float = 240.0
    longest: float = 3600.0
    readers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """An utterance and its sound at each rate that an encoder asks for."""

    utterance: Utterance
    sounds: Mapping[int, Audio]


def encode_utterances(
    stream: Iterable[Utterance | Rejected], encoders: Sequence[SpeechUnitEncoder], limits: Limits
) -> Iterator[Utterance | Rejected]:
    """Add streams to utterances with audio. One that fails comes out as `Rejected`, the others go on; each file is
    opened once, for all encoders."""
    if not encoders:
        yield from stream
        return
    read = partial(_load, rates={encoder.spec.sample_rate for encoder in encoders}, longest=limits.longest)
    with ThreadPoolExecutor(limits.readers) as readers:
        pools = _cut(stream, POOL * limits.utterances, POOL * limits.seconds, _seconds)
        for pool in _one_ahead(list(readers.map(read, pool)) for pool in pools):
            yield from _encode_pool(pool, encoders, limits)


def _load(item: Utterance | Rejected, rates: Iterable[int], longest: float) -> Loaded | Utterance | Rejected:
    if isinstance(item, Rejected) or item.audio is None:
        return item
    if item.audio.seconds > longest:
        return _rejected(
            item,
            f"lasts {item.audio.seconds:.0f} s, expected at most {longest:.0f}: cut it by a stage such as split, or "
            "raise longest",
        )
    try:
        audio = audio_of(item)
        return Loaded(utterance=item, sounds={rate: resample(audio, rate) for rate in rates})
    except StlmError as error:
        return _rejected(item, str(error))


def _encode_pool(
    pool: Sequence[Loaded | Utterance | Rejected], encoders: Sequence[SpeechUnitEncoder], limits: Limits
) -> Iterator[Utterance | Rejected]:
    loaded = {place: item for place, item in enumerate(pool) if isinstance(item, Loaded)}
    encoded: dict[int, Utterance | Rejected] = {}
    by_length = sorted(loaded, key=lambda place: _seconds(loaded[place].utterance))
    for places in _cut(by_length, limits.utterances, limits.seconds, lambda place: _seconds(loaded[place].utterance)):
        encoded.update(zip(places, encode_batch([loaded[place] for place in places], encoders), strict=True))
    for place, item in enumerate(pool):
        yield encoded[place] if isinstance(item, Loaded) else item


def encode_batch(batch: Sequence[Loaded], encoders: Sequence[SpeechUnitEncoder]) -> list[Utterance | Rejected]:
    """Each utterance with its streams, in order; where an encoder refuses the batch, one by one, so that only the
    culprit is lost."""
    try:
        units = {
            encoder.spec.name: encoder.encode([item.sounds[encoder.spec.sample_rate] for item in batch])
            for encoder in encoders
        }
    except StlmError as error:
        if len(batch) > 1:
            return [encode_batch([item], encoders)[0] for item in batch]
        return [_rejected(batch[0].utterance, str(error))]
    return [
        _with_streams(item.utterance, {name: found[i] for name, found in units.items()}) for i, item in enumerate(batch)
    ]


def _with_streams(utterance: Utterance, streams: Mapping[str, Units]) -> Utterance | Rejected:
    empty = [name for name, found in streams.items() if not len(found)]
    if empty:
        return _rejected(
            utterance, f"{_seconds(utterance):.3f} s of audio are too short for a single unit of stream {empty[0]!r}"
        )
    return utterance.with_streams(streams)


def _rejected(utterance: Utterance, reason: str) -> Rejected:
    uri = getattr(utterance.audio, "uri", None)
    named = reason if uri and reason.startswith(uri) else f"{utterance.id}: {reason}"
    return Rejected(id=utterance.id, reason=named, uri=uri)


def _seconds(item: Utterance | Rejected) -> float:
    return item.audio.seconds if isinstance(item, Utterance) and item.audio is not None else 0.0


def _cut(
    items: Iterable[Item], count: int, seconds: float, seconds_of: Callable[[Item], float]
) -> Iterator[list[Item]]:
    """Runs of at most so many items and seconds; an item that is longer stands alone."""
    run: list[Item] = []
    total = 0.0
    for item in items:
        length = seconds_of(item)
        if run and (len(run) == count or total + length > seconds):
            yield run
            run, total = [], 0.0
        run.append(item)
        total += length
    if run:
        yield run


def _one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, the next of which a thread makes while the last is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, iterator, None)
            yield item
