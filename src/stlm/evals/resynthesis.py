"""Resynthesis: recordings through units and back, judged by what is still understood, sung and felt.

Recordings go through encode and decode of one or more systems, side by side: bitrate, WER and CER by an ASR judge, F0
frame error, style accuracy by a classifier (Nguyen et al., 2023, section 5; Spirit LM, section 4.5). Units keep the
durations of the recording, so that pitch is compared at the same instants. No language model is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tqdm import tqdm

from stlm.audio import audio_of, resample
from stlm.codec import Codec
from stlm.errors import ConfigError, DataError
from stlm.evals.statistics import ratio_interval
from stlm.interfaces.judge import Classifier, F0Extractor, Judge
from stlm.interfaces.unit_encoder import SpeechUnitEncoder
from stlm.interfaces.vocoder import Vocoder
from stlm.learn.error_rates import normalize
from stlm.learn.f0_error import FLOOR_HZ, Contour, compare, yin
from stlm.system import anchor_units, check_vocoder, encode_audio, speak
from stlm.types import Audio, SpeechSpan, Units, UnitSpan, Utterance

BATCH = 16
PROTOCOL = {f"yin_{floor:g}": floor for floor in (FLOOR_HZ, 50.0)}
"""The protocol's YIN at its floor in Hz, for comparison with the paper, and at one that hears low voices."""
TRACKER, TRACKER_RATE = "tracker", 16_000
"""A pitch tracker of one's choice: the protocol's YIN calls many voiced frames of some voices unvoiced."""
ORIGINAL = "original"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resynthesizer:
    """What a system needs to say a recording again.

    Args:
        name: as the table shows it.
        codec, encoders, vocoder: its parts.
    """

    name: str
    codec: Codec
    encoders: Mapping[str, SpeechUnitEncoder]
    vocoder: Vocoder

    def __post_init__(self) -> None:
        check_vocoder(self.codec, self.vocoder)

    @property
    def bitrate(self) -> float:
        """Bits a second at the nominal rates: the sum of ``log2(V) * rate`` over all codebooks."""
        names = self.codec.format.layout("default").stream_names
        specs = [self.codec.streams[name] for name in names]
        return sum(spec.frame_rate_hz * sum(map(math.log2, spec.codebook_sizes)) for spec in specs)

    def say(self, batch: Sequence[Audio], voices: Sequence[str | int | None], durations: str) -> list[Copy]:
        """The recordings in the vocoder's voices; one that is too short for a unit stays silent."""
        spans = encode_audio(self.codec, self.encoders, batch)
        return [self._copy(span, voice, durations) for span, voice in zip(spans, voices, strict=True)]

    def _copy(self, span: SpeechSpan, voice: str | int | None, durations: str) -> Copy:
        units = anchor_units(self.codec, span)
        if not len(units):
            return Copy(audio=Audio(samples=np.zeros(0, np.float32), sample_rate=self.vocoder.sample_rate))
        said: SpeechSpan | UnitSpan = span
        if durations == "predicted":  # what a language model would write: deduplicated, without times
            (decoded,) = self.codec.decode(self.codec.encode((span,), bos=False, eos=False).ids)
            assert isinstance(decoded, UnitSpan)
            said = decoded
        return Copy(audio=speak(self.codec, self.vocoder, (said,), voice=voice), units=units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A recording as one system says it, and how it was judged.

    Args:
        audio: the sound.
        units: those that carry time, for pictures.
        heard: the judge's transcript.
        word_errors, words, character_errors, characters: against the reference, 0 of 0 without one.
        f0_error: F0 frame error by tracker: ``yin_100`` and ``yin_50`` by the protocol at two floors in Hz, ``tracker``
            by an `F0Extractor`.
        label: what the classifier says.
    """

    audio: Audio
    units: Units | None = None
    heard: str = ""
    word_errors: int = 0
    words: int = 0
    character_errors: int = 0
    characters: int = 0
    f0_error: Mapping[str, float] = field(default_factory=dict[str, float])
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with its 95 % bootstrap interval over `n` recordings."""

    value: float
    ci95: tuple[float, float]
    n: int

    @classmethod
    def of(cls, totals: Sequence[float], counts: Sequence[float]) -> Figure | None:
        """The ratio of sums; None where there is nothing to divide by."""
        if not sum(counts):
            return None
        value = float(np.sum(totals) / np.sum(counts))
        return cls(value=value, ci95=ratio_interval(np.array(totals), np.array(counts)), n=sum(c > 0 for c in counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: the originals, or a system.

    Args:
        name: "original", or the system's.
        bitrate: bits a second; None for the originals.
        copies: one for each recording, in order.
        labels: true label of each recording; None where there is none.
    """

    name: str
    bitrate: float | None
    copies: Sequence[Copy]
    labels: Sequence[str | None]

    @property
    def figures(self) -> dict[str, Figure]:
        """WER, CER, F0 frame error by each tracker and style accuracy, each in per cent, as far as there is one."""
        ffe = {
            f"ffe_{tracker}": Figure.of(
                [100 * copy.f0_error.get(tracker, 0.0) for copy in self.copies],
                [float(tracker in copy.f0_error) for copy in self.copies],
            )
            for tracker in (*PROTOCOL, TRACKER)
        }
        known = [copy.label is not None and label is not None for copy, label in self._labelled]
        right = [100.0 * (copy.label == label) for copy, label in self._labelled]
        found = {
            "wer": Figure.of([100 * copy.word_errors for copy in self.copies], [copy.words for copy in self.copies]),
            "cer": Figure.of(
                [100 * copy.character_errors for copy in self.copies], [copy.characters for copy in self.copies]
            ),
            **ffe,
            "style": Figure.of(np.multiply(right, known).tolist(), [float(item) for item in known]),
        }
        return {name: figure for name, figure in found.items() if figure is not None}

    @property
    def _labelled(self) -> list[tuple[Copy, str | None]]:
        return list(zip(self.copies, self.labels, strict=True))


def resynthesize(
    systems: Sequence[Resynthesizer],
    recordings: Sequence[Utterance],
    *,
    judge: Judge | None = None,
    classifier: Classifier | None = None,
    f0_extractor: F0Extractor | None = None,
    label: str = "style",
    durations: str = "kept",
    seed: int = 0,
) -> list[Row]:
    """The originals and each system's copies of them, judged.

    A recording is said in its own speaker's voice where the vocoder has it, else in one drawn by the seed, the same for
    all systems with the same voices.

    Args:
        systems: at least one.
        recordings: with audio; those with text have error rates, those with `label` among their labels an accuracy.
        judge: of the words.
        classifier: of the style.
        f0_extractor: a pitch tracker beside the protocol's.
        label: key of the labels that the classifier knows.
        durations: "kept" from the recording, or "predicted" by the vocoder (then there is no F0 frame error).
        seed: decides voices.

    Raises:
        ConfigError: `durations` is none of the two. DataError: there are no recordings.
    """
    if durations not in ("kept", "predicted"):
        raise ConfigError(f"durations must be kept or predicted, got {durations!r}")
    if not recordings:
        raise DataError("no recordings to resynthesise: check the source")
    labels = [utterance.labels.get(label) for utterance in recordings]
    originals = [audio_of(utterance) for utterance in recordings]
    texts = [utterance.text for utterance in recordings]
    rows = []
    for system in (None, *systems):
        name, copies = ORIGINAL, [Copy(audio=audio) for audio in originals]
        if system is not None:
            name = system.name
            voices = [_voice(system.vocoder, utterance, seed, at) for at, utterance in enumerate(recordings)]
            batches = range(0, len(originals), BATCH)
            copies = [
                copy
                for at in tqdm(batches, desc=name, unit="batch")
                for copy in system.say(originals[at : at + BATCH], voices[at : at + BATCH], durations)
            ]
        pitched = system is not None and durations == "kept"
        errors = [
            _f0_errors(original, copy.audio, f0_extractor) if pitched else {}
            for original, copy in zip(originals, copies, strict=True)
        ]
        judged = _judged(copies, texts, errors, judge, classifier, name)
        rows.append(Row(name=name, bitrate=system.bitrate if system else None, copies=judged, labels=labels))
    return rows


def _voice(vocoder: Vocoder, utterance: Utterance, seed: int, index: int) -> str | None:
    if not vocoder.voices or utterance.speaker in vocoder.voices:
        return utterance.speaker if vocoder.voices else None
    return vocoder.voices[int(np.random.default_rng([seed, index]).integers(len(vocoder.voices)))]


def _judged(
    copies: Sequence[Copy],
    texts: Sequence[str | None],
    f0_errors: Sequence[Mapping[str, float]],
    judge: Judge | None,
    classifier: Classifier | None,
    name: str,
) -> list[Copy]:
    sounds = [copy.audio for copy in copies]
    heard = _in_batches(judge.transcribe, sounds, f"{name}, words") if judge else [""] * len(sounds)
    labels = _in_batches(classifier.classify, sounds, f"{name}, style") if classifier else [None] * len(sounds)
    found = []
    for index, copy in enumerate(copies):
        text = normalize(texts[index] or "") if judge else ""
        said = normalize(heard[index])
        found.append(
            Copy(
                audio=copy.audio,
                units=copy.units,
                heard=heard[index],
                word_errors=edits(said.split(), text.split()) if text else 0,
                words=len(text.split()),
                character_errors=edits(said, text) if text else 0,
                characters=len(text),
                f0_error=f0_errors[index],
                label=labels[index],
            )
        )
    return found


def _in_batches(judge: Callable[[Sequence[Audio]], list[str]], sounds: Sequence[Audio], label: str) -> list[str]:
    batches = range(0, len(sounds), BATCH)
    return [text for at in tqdm(batches, desc=label, unit="batch") for text in judge(sounds[at : at + BATCH])]


def _f0_errors(original: Audio, copy: Audio, extractor: F0Extractor | None) -> dict[str, float]:
    """By tracker, at the copy's sampling rate; nothing where the recording is too short for a frame."""
    reference = resample(original, copy.sample_rate)
    trackers: dict[str, Callable[[Audio], Contour]] = {
        name: partial(yin, floor_hz=floor) for name, floor in PROTOCOL.items()
    }
    if extractor is not None:
        trackers[TRACKER] = partial(_tracked, extractor)
    found: dict[str, float] = {}
    for name, track in trackers.items():
        wanted = track(reference)
        if len(wanted.f0):
            found[name] = compare(wanted.f0, track(copy).at(wanted.times)).rate
    return found


def _tracked(extractor: F0Extractor, audio: Audio) -> Contour:
    f0, voiced = extractor.extract(audio)
    return Contour(times=np.arange(len(f0)) * extractor.hop / TRACKER_RATE, f0=np.where(voiced, f0, 0.0))


def edits(got: Sequence[str], expected: Sequence[str]) -> int:
    """Insertions, deletions and substitutions between two sequences (Levenshtein)."""
    row = list(range(len(expected) + 1))
    for index, item in enumerate(got, 1):
        diagonal, row[0] = row[0], index
        for place, other in enumerate(expected, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (item != other))
    return row[-1]
