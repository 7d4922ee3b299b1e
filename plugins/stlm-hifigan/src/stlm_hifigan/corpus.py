"""Utterances as a generator learns from them: rows of its embedding tables for each frame, beside the sound.

Each utterance is encoded once; codes stay in memory (2 bytes a frame and stream), sounds are read when asked for.
Slower streams are held onto the clock of the units as the codec does when it decodes: the value in force at a unit's
onset.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stlm.errors import ConfigError, DataError
from stlm.interfaces import F0Extractor, SpeechUnitEncoder
from stlm.interfaces.unit_encoder import encode_streams
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.types import Audio, StreamSpec, Units, Utterance
from stlm_hifigan.conditioning import EXPRESSIVE_STYLE, PITCH, SPEAKER, STYLE, UNITS
from stlm_hifigan.excitation import RANGE_HZ, USUAL_HZ
from stlm_hifigan.generator import TABLES

log = logging.getLogger(__name__)

ROLES = {"units": UNITS, "pitch": PITCH, "style": EXPRESSIVE_STYLE}
"""What an encoder is for, and the table that its codes are rows of."""
UNKNOWN = "unknown"
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One utterance.

    Args:
        recording: its number among the recordings.
        rows: ``int64[tables, T]``, in the order of the generator's tables.
        melody: ``float32[2, T * frames]``, F0 in Hz, on straight lines where there is no voice, and voicing; or None.
    """

    recording: int
    rows: np.ndarray
    melody: np.ndarray | None = None

    def __len__(self) -> int:
        return self.rows.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Encoded utterances.

    Args:
        recordings: their sounds, at the rate of the units.
        spoken: those that have units, in order.
        specs: of the streams, by role.
        tables: rows of each embedding table, in the order of their channels.
        voices, styles: names of the rows of the tables of speakers and of named styles.
    """

    recordings: Recordings
    spoken: list[Spoken]
    specs: Mapping[str, StreamSpec]
    tables: Mapping[str, int]
    voices: tuple[str, ...]
    styles: tuple[str, ...]

    @property
    def hop(self) -> int:
        return self.specs["units"].hop

    def sound(self, spoken: Spoken) -> np.ndarray:
        """``float32[T * hop]``."""
        samples, wanted = self.recordings[spoken.recording], len(spoken) * self.hop
        return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))

    def row(self, spoken: Spoken, table: str) -> np.ndarray:
        """``int64[T]``: what stands in one table."""
        return spoken.rows[list(self.tables).index(table)]

    def usual(self, table: str, count: int = 1) -> list[int]:
        """The rows of a table that are heard longest."""
        frames = sum(np.bincount(self.row(item, table), minlength=self.tables[table]) for item in self.spoken)
        return [int(row) for row in np.argsort(-np.asarray(frames), kind="stable")[:count]]


def check_encoders(encoders: Mapping[str, SpeechUnitEncoder], style_label: str) -> None:
    """Raise ConfigError where a role is unknown or lacks, a stream has several codebooks, or there are two styles."""
    unknown = [role for role in encoders if role not in ROLES]
    if unknown or "units" not in encoders:
        raise ConfigError(
            f"hifigan: encoders are for {', '.join(encoders) or 'nothing'}, expected units, and where wanted pitch and "
            "style: encoders.units={name: …, path: …}"
        )
    for role, encoder in encoders.items():
        if encoder.spec.num_codebooks != 1:
            raise ConfigError(
                f"hifigan: encoder of {role} has {encoder.spec.num_codebooks} codebooks, expected one per frame"
            )
    if style_label and "style" in encoders:
        raise ConfigError(f"hifigan: style_label={style_label} and encoders.style are two styles: choose one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Melodist:
    """Finds F0 for each unit.

    Args:
        extractor: of F0.
        frames: values for each unit.
    """

    extractor: F0Extractor
    frames: int

    def __call__(self, audio: Audio, count: int, hop: int) -> np.ndarray:
        """``float32[2, count * frames]``, as `Spoken.melody`, of units of `hop` samples; the sound may be longer."""
        f0, voiced = self.extractor.extract(audio)
        wanted = np.arange(count * self.frames) * (hop / self.frames)
        times, known = np.arange(len(f0)) * float(self.extractor.hop), np.flatnonzero(voiced)
        if not len(known):
            return np.stack([np.full(len(wanted), USUAL_HZ, np.float32), np.zeros(len(wanted), np.float32)])
        nearest = np.minimum(np.round(wanted / self.extractor.hop).astype(np.int64), len(f0) - 1)
        line = np.interp(wanted, times[known], f0[known]).clip(*RANGE_HZ)
        return np.stack([line, voiced[nearest]]).astype(np.float32)


def encode_corpus(
    utterances: Iterable[Utterance],
    encoders: Mapping[str, SpeechUnitEncoder],
    *,
    style_label: str,
    shortest: int,
    melodist: Melodist | None = None,
) -> Corpus:
    """Encode everything once.

    Args:
        utterances: with speech; those without are left out.
        encoders: by role, as `check_encoders` wants them.
        style_label: the label whose values are named styles; "" for none.
        shortest: utterances of fewer units are left out, with a warning that counts them.
        melodist: finds F0, where the generator learns from it.

    Raises:
        DataError: no utterance can be used. FormatError: a code lies outside its codebook.
    """
    specs = {role: encoder.spec for role, encoder in encoders.items()}
    recordings = Recordings(utterances, specs["units"].sample_rate, what="hifigan")
    voices = [_name(item.speaker) for item in recordings.utterances]
    styles = [_name(item.labels.get(style_label)) for item in recordings.utterances] if style_label else []
    names = {SPEAKER: _ranked(voices), STYLE: _ranked(styles)}
    constant = {SPEAKER: voices, STYLE: styles}
    sizes = {ROLES[role]: spec.codebook_sizes[0] for role, spec in specs.items()}
    sizes |= {table: len(found) for table, found in names.items() if found}
    tables = {table: sizes[table] for table in TABLES if table in sizes}
    spoken: list[Spoken] = []
    too_short = 0
    for index, (streams, sound) in enumerate(_encoded(recordings, encoders)):
        codes = held(streams, sound.num_samples // specs["units"].hop)
        if len(codes["units"]) < shortest:
            too_short += 1
            continue
        rows = {ROLES[role]: row for role, row in codes.items()}
        for table, labels in constant.items():
            if table in tables:
                rows[table] = np.full(len(codes["units"]), names[table].index(labels[index]))
        melody = melodist(sound, len(codes["units"]), specs["units"].hop) if melodist else None
        spoken.append(Spoken(recording=index, rows=np.stack([rows[table] for table in tables]), melody=melody))
    _report(recordings, spoken, too_short, shortest)
    warn_of_one_speaker(recordings.utterances, "hifigan")
    if len(names[SPEAKER]) > 1 and UNKNOWN in names[SPEAKER]:
        log.warning("hifigan: recordings without a speaker share the voice %r", UNKNOWN)
    return Corpus(
        recordings=recordings, spoken=spoken, specs=specs, tables=tables, voices=names[SPEAKER], styles=names[STYLE]
    )


def held(streams: Mapping[str, Units], most: int) -> dict[str, np.ndarray]:
    """``int64[T]`` of each role on the clock of the units; of length 0 where a stream is empty.

    Unit t begins at ``t * hop`` of its samples. A slower stream's value there is that of its last frame which began by
    then; its last value is held to the end.

    Args:
        streams: frame-level units by role.
        most: frames of units that the recording has sound for.
    """
    anchor = streams["units"]
    count = min(len(anchor), most) if all(len(units) for units in streams.values()) else 0
    onset = np.arange(count, dtype=np.int64) * anchor.spec.hop
    found = {}
    for role, units in streams.items():
        frame = onset * units.spec.sample_rate // (anchor.spec.sample_rate * units.spec.hop)
        found[role] = units.codes[np.minimum(frame, len(units) - 1), 0].astype(np.int64) if count else onset
    return found


def runs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units without repetitions ``int64[N]``, and the frames ``int64[N]`` that each lasts."""
    starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
    return codes[starts], np.diff(starts, append=len(codes))


class Segments:
    """Draws batches: stretches of equal length, every unit of the corpus about equally likely.

    Stretches that would hang over an end of an utterance are moved to lie within: else the silence before and after
    speech would hardly be drawn.

    Args:
        corpus: where from.
        spoken: which of its utterances.
        batch_size: stretches in a batch.
        frames: of units in each.
        margin: units on either side that come with it, for what depends on them.
        unknown_voice: share of the stretches that are marked as of nobody known.
    """

    def __init__(
        self,
        corpus: Corpus,
        spoken: list[Spoken],
        batch_size: int,
        frames: int,
        *,
        margin: int = 0,
        unknown_voice: float = 0.0,
    ) -> None:
        self.corpus, self.spoken = corpus, spoken
        self.batch_size, self.frames = batch_size, frames
        self.margin, self.unknown_voice = margin, unknown_voice
        self._ends = np.cumsum([len(item) for item in spoken])

    def __call__(self, rng: np.random.Generator) -> dict[str, Any]:
        """``rows: int64[B, tables, margin + T + margin]``, ``inside: float32[B, 1, margin + T + margin]``, which is 0
        beyond the ends of the recording, ``samples: float32[B, T * hop]``, and for each utterance ``units`` without
        repetitions and their ``durations``: ``int64[N]``, ``float32[N]``. With melodies, ``f0`` and ``voiced``:
        ``float32[B, T * frames]``, a number ``origin: int64[B]`` for the noise, and ``is_known: float32[B]``."""
        places = rng.integers(self._ends[-1], size=self.batch_size)
        chosen = np.searchsorted(self._ends, places, side="right")
        rows, inside, samples, melodies, units, durations = [], [], [], [], [], []
        for index, place in zip(chosen, places, strict=True):
            item, hop = self.spoken[index], self.corpus.hop
            middle = int(self._ends[index] - 1 - place)  # counted from the utterance's end
            start = min(max(0, middle - self.frames // 2), len(item) - self.frames)
            wide = np.arange(start - self.margin, start + self.frames + self.margin)
            inside.append(((wide >= 0) & (wide < len(item))).astype(np.float32)[None])
            rows.append(item.rows[:, wide.clip(0, len(item) - 1)])
            samples.append(self.corpus.sound(item)[start * hop : (start + self.frames) * hop])
            if item.melody is not None:
                frames = item.melody.shape[1] // len(item)
                melodies.append(item.melody[:, start * frames : (start + self.frames) * frames])
            different, lasting = runs(self.corpus.row(item, UNITS))
            units.append(torch.from_numpy(different))
            durations.append(torch.from_numpy(lasting.astype(np.float32)))
        return {
            "rows": torch.from_numpy(np.stack(rows)),
            "inside": torch.from_numpy(np.stack(inside)),
            "samples": torch.from_numpy(np.stack(samples)),
            "units": units,
            "durations": durations,
            **self._melody_of(melodies, rng),
        }

    def _melody_of(self, melodies: list[np.ndarray], rng: np.random.Generator) -> dict[str, torch.Tensor]:
        if not melodies:
            return {}
        f0, voiced = torch.from_numpy(np.stack(melodies, axis=1))
        origin = torch.from_numpy(rng.integers(1 << 31, size=len(f0)))
        is_known = torch.from_numpy((rng.random(len(f0)) >= self.unknown_voice).astype(np.float32))
        return {"f0": f0, "voiced": voiced, "origin": origin, "is_known": is_known}


def _encoded(
    recordings: Recordings, encoders: Mapping[str, SpeechUnitEncoder]
) -> Iterator[tuple[dict[str, Units], Audio]]:
    """Units of each recording by role, and its sound."""
    with tqdm(total=len(recordings), desc="hifigan: units", unit="utterance") as bar:
        for first in range(0, len(recordings), BATCH):
            some = range(first, min(first + BATCH, len(recordings)))
            sounds = [Audio(samples=recordings[index], sample_rate=recordings.sample_rate) for index in some]
            found = encode_streams(encoders, sounds)
            for units in (units for made in found.values() for units in made):
                units.check_range()
            for at, sound in enumerate(sounds):
                yield {role: made[at] for role, made in found.items()}, sound
            bar.update(len(sounds))


def _name(given: str | None) -> str:
    """A name that a line of a file can hold."""
    return " ".join((given or "").split()) or UNKNOWN


def _ranked(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(Counter(names)))


def _report(recordings: Recordings, spoken: list[Spoken], too_short: int, shortest: int) -> None:
    if not spoken:
        raise DataError(
            f"hifigan: none of {len(recordings)} recordings gives {shortest} units, expected some: give longer ones, "
            "lower segment_frames, or look at the encoders"
        )
    if too_short:
        log.warning(
            "hifigan: %d of %d recordings left out, they give fewer than %d units", too_short, len(recordings), shortest
        )
    if all((item.rows[0] == spoken[0].rows[0, 0]).all() for item in spoken):
        raise DataError(
            f"hifigan: all {len(spoken)} recordings consist of unit {spoken[0].rows[0, 0]} alone, expected several: "
            "look at the encoder of units"
        )
