"""The smallest honest implementation of every interface. Tests and the examples in the docs run on them.

Each is real: it keeps its contract, can be saved, loaded and pickled, and takes microseconds. `TinyBackbone` needs
torch and loads on first use.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stlm.audio import resample
from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces import (
    Aligner,
    ChoiceItem,
    Classifier,
    EvalTask,
    F0Extractor,
    Judge,
    Recipe,
    Source,
    SpeechUnitEncoder,
    Stage,
    TextNormalizer,
    TextUnitEncoder,
    Vocoder,
)
from stlm.types import (
    AlignedUnits,
    Audio,
    Rejected,
    StreamSpec,
    TextSpan,
    TextUnits,
    Units,
    Utterance,
    Word,
    as_codes,
)

if TYPE_CHECKING:
    from stlm.testing.tiny_backbone import TinyBackbone, TinyCache, batch_of, packed_batch_of

__all__ = [
    "AutocorrelationF0",
    "ByteText",
    "CountRecipe",
    "EnergyEncoder",
    "EnergyJudge",
    "EvenAligner",
    "ListSource",
    "LongerText",
    "LoudnessClassifier",
    "LowercaseNormalizer",
    "TinyBackbone",
    "TinyCache",
    "ToneVocoder",
    "UppercaseStage",
    "batch_of",
    "packed_batch_of",
]

SAMPLE_RATE = 16000
HOP = 320
SILENCE_DB = -60.0


def __getattr__(name: str) -> Any:
    if name not in ("TinyBackbone", "TinyCache", "batch_of", "packed_batch_of"):
        raise AttributeError(f"module 'stlm.testing.fakes' has no attribute {name!r}")
    return getattr(import_module("stlm.testing.tiny_backbone"), name)


class EnergyEncoder(SpeechUnitEncoder):
    """Loudness of each 20 ms in equal steps of decibels: stream "energy", one codebook.

    Args:
        levels: number of units; unit 0 is silence.
    """

    FILE = "energy.json"

    def __init__(self, levels: int = 8) -> None:
        self.levels = levels
        self._spec = StreamSpec(
            name="energy",
            codebook_sizes=(levels,),
            sample_rate=SAMPLE_RATE,
            hop=HOP,
            window=HOP,
            fingerprint=hashlib.sha256(f"energy:{levels}".encode()).hexdigest(),
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return [Units(spec=self._spec, codes=self._codes(audio)) for audio in batch]

    def _codes(self, audio: Audio) -> np.ndarray:
        samples = resample(audio, SAMPLE_RATE).samples.astype(np.float64)
        frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
        decibels = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
        levels = np.floor((1 - decibels / SILENCE_DB) * self.levels)
        return as_codes(np.clip(levels, 0, self.levels - 1))

    def save(self, directory: Path) -> None:
        (directory / self.FILE).write_text(json.dumps({"levels": self.levels}))

    @classmethod
    def load(cls, directory: Path) -> EnergyEncoder:
        return cls(**json.loads((directory / cls.FILE).read_text()))


class ByteText(TextUnitEncoder):
    """UTF-8 bytes as ids. Of the bytes of one character the last covers it, the others cover nothing."""

    @property
    def vocab_size(self) -> int:
        return 256

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"utf-8").hexdigest()

    def encode(self, text: str) -> TextUnits:
        ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        ends = np.cumsum(np.append((ids[1:] & 0xC0) != 0x80, np.ones(min(1, len(ids)), bool)), dtype=np.int32)
        starts = np.concatenate([[0], ends[:-1]])[: len(ids)]
        return TextUnits(
            ids=ids, char_offsets=np.stack([starts, ends], axis=1).astype(np.int32), fingerprint=self.fingerprint
        )

    def decode(self, ids: Sequence[int]) -> str:
        try:
            return bytes(int(id) for id in ids).decode(errors="replace")
        except ValueError as error:
            raise FormatError(f"byte ids must lie in 0..255, got {min(ids)}..{max(ids)}") from error

    def save(self, directory: Path) -> None:
        (directory / "bytes.txt").write_text("utf-8\n")

    @classmethod
    def load(cls, directory: Path) -> ByteText:
        if not (directory / "bytes.txt").exists():
            raise DataError(f"{directory}: no bytes.txt: not a saved ByteText")
        return cls()


class ToneVocoder(Vocoder):
    """A beep of 20 ms per "energy" unit, louder and higher with its number."""

    VOICES = ("low", "high")

    @property
    def streams(self) -> tuple[str, ...]:
        return ("energy",)

    @property
    def sample_rate(self) -> int:
        return SAMPLE_RATE

    @property
    def voices(self) -> tuple[str, ...]:
        return self.VOICES

    def synthesize(self, units: AlignedUnits, voice: str | int | None = None, style: str | int | None = None) -> Audio:
        if "energy" not in units.streams:
            raise DataError(f"this vocoder needs stream 'energy', got {sorted(units.streams)}")
        codes = units.streams["energy"][:, 0].astype(np.float64)
        if units.durations is not None:
            codes = np.repeat(codes, units.durations)
        base = 110.0 * (1 + self._voice(voice))
        time = np.arange(HOP) / SAMPLE_RATE
        sound = codes[:, None] / 64 * np.sin(2 * np.pi * (base * (1 + codes[:, None])) * time)
        return Audio(samples=sound.reshape(-1).astype(np.float32), sample_rate=SAMPLE_RATE)

    def _voice(self, voice: str | int | None) -> int:
        if isinstance(voice, str) and voice in self.VOICES:
            return self.VOICES.index(voice)
        number = 0 if voice is None else voice
        if not isinstance(number, int) or not 0 <= number < len(self.VOICES):
            raise ConfigError(f"voice must be one of {', '.join(self.VOICES)}, got {voice!r}")
        return number

    def save(self, directory: Path) -> None:
        (directory / "tone.json").write_text("{}")

    @classmethod
    def load(cls, directory: Path) -> ToneVocoder:
        if not (directory / "tone.json").exists():
            raise DataError(f"{directory}: no tone.json: not a saved ToneVocoder")
        return cls()


class ListSource(Source):
    """Utterances, or rejected inputs, from memory."""

    def __init__(self, items: Sequence[Utterance | Rejected]) -> None:
        self.items = list(items)

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        yield from self.items[shard::num_shards]

    def __len__(self) -> int:
        return sum(isinstance(item, Utterance) for item in self.items)


class UppercaseStage(Stage):
    """Shouts; a text whose length changes in capitals would lose its word offsets and is rejected."""

    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        for item in utterances:
            if isinstance(item, Rejected) or item.text is None:
                yield item
                continue
            text = item.text.upper()
            if item.words and len(text) != len(item.text):
                yield Rejected(id=item.id, reason=f"{item.id}: capitals change the text's length")
                continue
            yield replace(item, text=text, words=tuple(replace(word, text=word.text.upper()) for word in item.words))


class LongerText(EvalTask):
    """Which candidate has more letters? Every pair in both orders, so that the place of the answer tells nothing."""

    def items(self) -> Iterator[ChoiceItem]:
        for number, (short, long) in enumerate((("a", "longer"), ("to", "word"), ("it", "text"))):
            candidates = ([TextSpan(text=f" {short}")], [TextSpan(text=f" {long}")])
            for answer in (1, 0):
                yield ChoiceItem(
                    id=f"{number}-{answer}",
                    group=str(number),
                    prompt=[TextSpan(text="which is longer")],
                    candidates=candidates if answer else candidates[::-1],
                    answer=answer,
                )


class CountRecipe(Recipe):
    """Learns how many utterances and characters there are."""

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        lengths = [len(utterance.text or "") for utterance in utterances]
        (out / "count.json").write_text(json.dumps({"utterances": len(lengths), "characters": sum(lengths)}))


class EvenAligner(Aligner):
    """Gives every word the same share of the audio."""

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        found = list(re.finditer(r"\w[\w'’-]*", text))
        if not found or audio.num_samples < len(found):
            raise DataError(f"{len(found)} words do not fit {audio.num_samples} samples of audio")
        cuts = [audio.num_samples * index // len(found) for index in range(len(found) + 1)]
        return tuple(
            Word(text=match[0], start=start, end=end, char_start=match.start(), char_end=match.end())
            for match, start, end in zip(found, cuts, cuts[1:], strict=False)
        )


class EnergyJudge(Judge):
    """Hears "sound" or nothing."""

    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        return ["sound" if audio.num_samples and float(np.abs(audio.samples).max()) > 1e-3 else "" for audio in batch]


class LoudnessClassifier(Classifier):
    """Tells loud from quiet."""

    @property
    def labels(self) -> tuple[str, ...]:
        return ("quiet", "loud")

    def classify(self, batch: Sequence[Audio]) -> list[str]:
        return ["loud" if float(np.abs(audio.samples).max(initial=0)) > 0.1 else "quiet" for audio in batch]


class AutocorrelationF0(F0Extractor):
    """The highest peak of the autocorrelation between 60 and 400 Hz; every 10 ms at 16 kHz."""

    WINDOW = 1024

    @property
    def hop(self) -> int:
        return 160

    def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
        samples = resample(audio, SAMPLE_RATE).samples.astype(np.float64)
        padded = np.pad(samples, self.WINDOW // 2)
        f0 = np.array(
            [self._frame(padded[at : at + self.WINDOW]) for at in range(0, len(samples), self.hop)], np.float32
        )
        return f0, f0 > 0

    def _frame(self, frame: np.ndarray) -> float:
        power = np.fft.irfft(np.abs(np.fft.rfft(frame, 2 * len(frame))) ** 2)
        low, high = SAMPLE_RATE // 400, SAMPLE_RATE // 60
        lag = low + int(power[low:high].argmax())
        return SAMPLE_RATE / lag if power[0] > 1e-3 and power[lag] > 0.5 * power[0] else 0.0


class LowercaseNormalizer(TextNormalizer):
    """Lower case, single spaces."""

    def normalize(self, text: str) -> str:
        return " ".join(text.lower().split())
