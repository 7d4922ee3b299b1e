"""Cuts long recordings: at pauses where there is speech alone, between words where there are word times.

```
stlm prepare source=folder source.path=DIR out=OUT 'stages=[{name: split, longest: 30}]'
```

Recordings are read in blocks of a minute, so that one of many hours takes no more memory than a short one; with word
times they are not read at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import soxr

from stlm.audio import read_audio
from stlm.errors import ConfigError, DataError
from stlm.interfaces.stage import Stage
from stlm.types import Audio, AudioRef, Rejected, Utterance, text_boundaries
from stlm_vad.cuts import Stretch, cut, gaps, silences, without
from stlm_vad.silero import HOP, SAMPLE_RATE, SileroDetector

BLOCK_SECONDS = 60

Detector = Callable[[Iterable[np.ndarray]], np.ndarray]
"""Blocks of sound at 16 kHz to the probability of speech in each 32 ms, as `SileroDetector` does."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `SplitStage`.

    Args:
        longest: seconds of a piece; recordings of at most this length pass as they are.
        shortest: seconds of a piece, and of the silence that `drop_silence` leaves on either side of speech.
        pause: seconds of silence in which to cut.
        drop_silence: seconds; silences of at least this length are left out; 0 keeps all.
        threshold: probability from which a frame of 32 ms counts as speech; Silero's own default is 0.5.
    """

    longest: float = 30.0
    shortest: float = 1.0
    pause: float = 0.3
    drop_silence: float = 0.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.shortest <= self.longest / 2 or self.pause <= 0 or not 0 < self.threshold < 1:
            raise ConfigError(
                "stage split needs 0 < shortest <= longest / 2, pause above 0 and threshold between 0 and 1, got "
                f"{self}"
            )
        if self.drop_silence and self.drop_silence < 2 * self.shortest:
            raise ConfigError(
                f"stage split needs drop_silence of 0 or at least 2 * shortest = {2 * self.shortest:g} s, for shortest "
                f"is left on either side; got {self.drop_silence:g}"
            )


class SplitStage(Stage):
    """Pieces of long recordings, in order: ``ID#0001`` and so on, with the recording and the first sample in ``meta``.

    Each piece ends in the widest pause of its second half or, where there is none, at the frame that is least like
    speech. With word times it ends between two words, and the text is cut there too. An utterance with text but without
    word times, or with units already, cannot be cut: it is noted and goes on whole.

    Args:
        config: lengths.
        detector: finds speech.
    """

    def __init__(self, config: Config, detector: Detector) -> None:
        self.config, self.detector = config, detector

    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        for item in utterances:
            if isinstance(item, Rejected) or item.audio is None or item.audio.seconds <= self.config.longest:
                yield item
            elif reason := _obstacle(item):
                yield _rejected(item, f"{item.audio.seconds:.0f} s long, cannot be cut: {reason}", kept_as="uncut")
                yield item
            else:
                yield from self._pieces(item, item.audio)

    def _pieces(self, item: Utterance, audio: Audio | AudioRef) -> Iterator[Utterance | Rejected]:
        try:
            stretches = self._between_words(item, audio) if item.words else self._at_pauses(audio)
        except DataError as error:
            yield _rejected(item, str(error))
            return
        if not stretches:
            yield _rejected(item, f"no speech was found in {audio.seconds:.0f} s: leave drop_silence out to keep it")
        cuts = text_boundaries(item.text, item.words) if item.text else [0] * (len(item.words) + 1)
        for number, stretch in enumerate(stretches, 1):
            yield _piece(item, audio, stretch, number, cuts)

    def _at_pauses(self, audio: Audio | AudioRef) -> list[Stretch]:
        hop = HOP * audio.sample_rate / SAMPLE_RATE
        speech = self.detector(_blocks(audio))
        pause = self.config.pause * audio.sample_rate
        found = silences(speech >= self.config.threshold, hop, audio.num_samples, pause)
        return self._stretches(found, audio, partial(_least_like_speech, speech, hop))

    def _between_words(self, item: Utterance, audio: Audio | AudioRef) -> list[Stretch]:
        found = gaps(item.words, audio.num_samples)

        def before(first: int, last: int) -> int:
            """In the last gap of the first half, for one word fills the second."""
            at = sum(max(gap for gap in found if gap[1] < first)) // 2
            if at <= first - round(self.config.longest * audio.sample_rate) // 2:
                raise DataError(f"a word at {at / audio.sample_rate:.2f} s fills a whole piece: check the word times")
            return at

        return self._stretches(found, audio, before)

    def _stretches(
        self, pauses: list[Stretch], audio: Audio | AudioRef, otherwise: Callable[[int, int], int]
    ) -> list[Stretch]:
        rate, config = audio.sample_rate, self.config
        longest, shortest = round(config.longest * rate), round(config.shortest * rate)
        kept = [(0, audio.num_samples)]
        if config.drop_silence:
            least = round(config.drop_silence * rate)
            kept = without(pauses, audio.num_samples, least=least, margin=shortest)
        parts = (cut(part, pauses, longest=longest, shortest=shortest, otherwise=otherwise) for part in kept)
        return [stretch for part in parts for stretch in part]


def build(config: Config) -> SplitStage:
    return SplitStage(config, SileroDetector())


def _obstacle(item: Utterance) -> str | None:
    if item.streams or item.text_units:
        return "it has units already, split before they are made"
    if item.text and not item.words:
        return "it has text without word times, put a stage that aligns before split"
    return None


def _rejected(item: Utterance, reason: str, kept_as: str | None = None) -> Rejected:
    return Rejected(id=item.id, uri=getattr(item.audio, "uri", None), reason=f"{item.id}: {reason}", kept_as=kept_as)


def _blocks(audio: Audio | AudioRef) -> Iterator[np.ndarray]:
    """A recording at 16 kHz, a minute at a time."""
    rate = audio.sample_rate
    resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for start in range(0, audio.num_samples, BLOCK_SECONDS * rate):
        end = min(start + BLOCK_SECONDS * rate, audio.num_samples)
        part = _part(audio, (start, end))
        samples = (part if isinstance(part, Audio) else read_audio(part)).samples
        yield samples if resampler is None else resampler.resample_chunk(samples, last=end == audio.num_samples)


def _part(audio: Audio | AudioRef, stretch: Stretch) -> Audio | AudioRef:
    start, end = stretch
    if isinstance(audio, Audio):
        return replace(audio, samples=audio.samples[start:end])
    return replace(audio, start=audio.start + start, num_samples=end - start)


def _least_like_speech(speech: np.ndarray, hop: float, first: int, last: int) -> int:
    frames = slice(round(first / hop), round(last / hop) + 1)
    at = round((frames.start + float(speech[frames].argmin()) + 0.5) * hop)
    return min(max(at, first), last)


def _piece(item: Utterance, audio: Audio | AudioRef, stretch: Stretch, number: int, cuts: list[int]) -> Utterance:
    """One stretch with its words and the text that they own; `cuts` are as `text_boundaries` gives them."""
    start, end = stretch
    starts = [word.start for word in item.words]
    first = bisect_left(starts, start)
    last = bisect_left(starts, end) if end < audio.num_samples else len(starts)
    text = (item.text or "")[cuts[first] : cuts[last]]
    begin = cuts[last] - len(text.lstrip())
    words = tuple(
        replace(
            word,
            start=word.start - start,
            end=word.end - start,
            char_start=word.char_start - begin,
            char_end=word.char_end - begin,
        )
        for word in item.words[first:last]
    )
    return replace(
        item,
        id=f"{item.id}#{number:04d}",
        audio=_part(audio, stretch),
        text=text.strip() or None,
        words=words,
        meta={**item.meta, "recording": item.id, "start_sample": str(start)},
    )
