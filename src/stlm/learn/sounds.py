"""The sounds of a corpus, for recipes: one bad recording is passed over with a warning, never the end of a training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from stlm.audio import read_audio, resample
from stlm.errors import DataError
from stlm.types import Audio, Utterance

log = logging.getLogger(__name__)

AUDIBLE = 1e-4  # of full scale, -80 dB: what never gets louder is silence
NUM_CHECKED = 32


def sounds_of(utterances: Iterable[Utterance], sample_rate: int) -> Iterator[Audio]:
    """Audio of the utterances that have some, at one rate; what cannot be read, or is not finite, is left out."""
    for utterance in utterances:
        if utterance.audio is None:
            continue
        try:
            yield sound_of(utterance, sample_rate)
        except DataError as error:
            log.warning("passed over: %s", error)


def sound_of(utterance: Utterance, sample_rate: int) -> Audio:
    """The audio of one utterance.

    Raises:
        DataError: it has none, cannot be read, or holds samples that are not finite.
    """
    source = utterance.audio
    if source is None:
        raise DataError(f"{utterance.id}: no audio, expected a recording")
    if not isinstance(source, Audio):
        return read_audio(source, sample_rate)
    if not np.isfinite(source.samples).all():
        raise DataError(f"{utterance.id}: audio holds NaN or infinite samples, expected finite ones")
    return resample(source, sample_rate)


def warn_of_one_speaker(utterances: Sequence[Utterance], what: str) -> None:
    """Say so where all of several recordings have one known speaker: what is learnt from them suits no other voice."""
    speakers = {item.speaker for item in utterances}
    if len(speakers) == 1 and len(utterances) > 1 and None not in speakers:
        message = "%s: all %d recordings are of one speaker, %s: what it learns will suit no other voice"
        log.warning(message, what, len(utterances), *speakers)


class Recordings(Sequence[np.ndarray]):
    """Random access to the sounds of a corpus: files are read when asked for, samples that came as such are kept.

    Args:
        utterances: those without audio are left out.
        sample_rate: of what is returned.
        shortest: shorter recordings are left out, in seconds.
        what: who asks, for messages.

    Raises:
        DataError: nothing is left, or all of it is silence.
    """

    def __init__(
        self, utterances: Iterable[Utterance], sample_rate: int, *, shortest: float = 0.0, what: str = "this recipe"
    ) -> None:
        found = [item for item in utterances if item.audio is not None]
        self.sample_rate = sample_rate
        self.utterances = [item for item in found if item.audio is not None and item.audio.seconds >= shortest]
        if not self.utterances:
            raise DataError(
                f"{what} got {len(found)} recordings of at least {shortest:g} s, expected some: "
                "check the source, or give longer recordings"
            )
        self._check_audible(what)

    @property
    def seconds(self) -> float:
        return sum(item.audio.seconds for item in self.utterances if item.audio is not None)

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``float32[N]``; silence of its length where it cannot be read, with a warning.

        Raises:
            IndexError: there is no such recording.
        """
        utterance = self.utterances[index]
        try:
            return sound_of(utterance, self.sample_rate).samples
        except DataError as error:
            log.warning("passed over: %s", error)
            assert utterance.audio is not None
            return np.zeros(int(utterance.audio.seconds * self.sample_rate), np.float32)

    def crop(self, index: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """``float32[length]`` from a random place; shorter recordings are followed by silence."""
        samples = self[index]
        start = int(rng.integers(max(1, len(samples) - length + 1)))
        piece = samples[start : start + length]
        return np.pad(piece, (0, length - len(piece)))

    def _check_audible(self, what: str) -> None:
        step = -(-len(self) // NUM_CHECKED)
        if all(np.abs(self[index]).max(initial=0) < AUDIBLE for index in range(0, len(self), step)):
            raise DataError(
                f"{what} got {len(self)} recordings, and those looked at are silent (below {AUDIBLE:g} of full scale): "
                "check the files and their channel"
            )
