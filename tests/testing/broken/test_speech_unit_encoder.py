"""Broken speech unit encoders, each caught by the law that it breaks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from stlm.testing import fakes
from stlm.types import Audio, Units

TICKS = itertools.count()


class Encoder(fakes.EnergyEncoder):
    """Honest, with one place to break it."""

    def change(self, codes: np.ndarray, audio: Audio, batch: list[Audio]) -> np.ndarray:
        return codes

    def encode(self, batch):
        found = super().encode(batch)
        return [
            Units(spec=self.spec, codes=self.change(units.codes, audio, batch).astype(np.uint16))
            for units, audio in zip(found, batch, strict=True)
        ]


class NormalisesOverTheBatch(Encoder):
    def change(self, codes, audio, batch):
        return codes if len(batch) == 1 else codes[::-1]


class OneFrameTooMany(Encoder):
    def change(self, codes, audio, batch):
        return np.concatenate([codes, codes[-1:]])


class OutOfRange(Encoder):
    def change(self, codes, audio, batch):
        return codes + self.levels


class Dices(Encoder):
    def change(self, codes, audio, batch):
        return (codes + next(TICKS)) % self.levels


class WritesIntoItsInput(Encoder):
    def change(self, codes, audio, batch):
        audio.samples[:] *= 0.5
        return codes


class TrustsTheRate(Encoder):
    def encode(self, batch):
        return super().encode([Audio(samples=audio.samples, sample_rate=16000) for audio in batch])


class FailsOnNothing(Encoder):
    def encode(self, batch):
        return super().encode(batch) if batch[0] else []


class HoldsALambda(Encoder):
    def __init__(self):
        super().__init__()
        self.square = lambda x: x * x


class ForgetsOnSaving(Encoder):
    def __init__(self):
        super().__init__(levels=5)


class Nameless(Encoder):
    def __init__(self):
        super().__init__()
        self._spec = replace(self._spec, fingerprint="")


SPEECH = [
    ("SpeechUnitEncoderContract", Nameless, ("its_spec_is_sound",)),
    (
        "SpeechUnitEncoderContract",
        NormalisesOverTheBatch,
        ("a_batch_gives_what_singles_give", "padding_changes_nothing"),
    ),
    ("SpeechUnitEncoderContract", OneFrameTooMany, ("it_makes_as_many_frames_as_the_spec_promises",)),
    ("SpeechUnitEncoderContract", OutOfRange, ("its_codes_lie_within_their_codebooks",)),
    ("SpeechUnitEncoderContract", Dices, ("it_is_deterministic", "a_batch_gives_what_singles_give")),
    ("SpeechUnitEncoderContract", WritesIntoItsInput, ("it_is_deterministic",)),
    ("SpeechUnitEncoderContract", TrustsTheRate, ("audio_at_another_rate_is_resampled",)),
    ("SpeechUnitEncoderContract", FailsOnNothing, ("an_empty_batch_gives_no_units",)),
    ("SpeechUnitEncoderContract", HoldsALambda, ("it_pickles",)),
    (
        "SpeechUnitEncoderContract",
        ForgetsOnSaving,
        ("a_saved_encoder_loads_with_equal_units",),
        lambda directory: fakes.EnergyEncoder(),
    ),
]


@pytest.mark.parametrize("case", SPEECH, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(SPEECH) == []
