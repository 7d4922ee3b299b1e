"""Broken vocoders, each caught by the law that it breaks."""

import itertools

import numpy as np
import pytest

from stlm.testing import fakes
from stlm.types import Audio

TICKS = itertools.count()


class Vocoder(fakes.ToneVocoder):
    """Honest, with one place to break it."""

    def change(self, samples: np.ndarray, units) -> np.ndarray:
        return samples

    def synthesize(self, units, voice=None, style=None):
        audio = super().synthesize(units, voice, style)
        return Audio(samples=self.change(audio.samples, units).astype(np.float32), sample_rate=16000)


class Hisses(Vocoder):
    def change(self, samples, units):
        return samples + 0.01 * next(TICKS)


class PadsTheEnd(Vocoder):
    def change(self, samples, units):
        return np.concatenate([samples, np.zeros(100)])


class IgnoresDurations(Vocoder):
    def synthesize(self, units, voice=None, style=None):
        return super().synthesize(units.with_durations(None), voice, style)


class StretchesSlowly(Vocoder):
    def change(self, samples, units):
        return samples if units.durations is None or not units.durations.max(initial=0) > 2 else samples[:-7]


class MixesEverything(Vocoder):
    def change(self, samples, units):
        return samples + 0.001 * len(units.streams)


class SilentlyWithoutStream(Vocoder):
    def synthesize(self, units, voice=None, style=None):
        if "energy" not in units.streams:
            return Audio(samples=np.zeros(5, np.float32), sample_rate=16000)
        return super().synthesize(units, voice, style)


class LoudNonsense(Vocoder):
    def change(self, samples, units):
        return samples * np.nan


class ListsAVoiceItLacks(Vocoder):
    voices = ("low", "bass")


class TakesAnyVoice(Vocoder):
    def _voice(self, voice):
        return 0


VOCODER = [
    ("VocoderContract", Hisses, ("it_is_deterministic",)),
    ("VocoderContract", PadsTheEnd, ("no_rows_give_audio_of_no_samples",)),
    ("VocoderContract", IgnoresDurations, ("durations_are_kept", "a_row_of_two_frames_is_two_rows_of_one")),
    ("VocoderContract", StretchesSlowly, ("durations_are_kept",)),
    ("VocoderContract", MixesEverything, ("streams_that_it_does_not_read_change_nothing",)),
    ("VocoderContract", SilentlyWithoutStream, ("a_missing_stream_is_an_error_of_stlm",)),
    ("VocoderContract", LoudNonsense, ("it_makes_audio_at_its_rate",)),
    ("VocoderContract", ListsAVoiceItLacks, ("every_voice_and_style_can_be_named",)),
    ("VocoderContract", TakesAnyVoice, ("an_unknown_voice_is_an_error_of_stlm",)),
    (
        "VocoderContract",
        Vocoder,
        ("a_saved_vocoder_loads_with_equal_sound",),
        lambda directory: MixesEverything(),
    ),
]


@pytest.mark.parametrize("case", VOCODER, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(VOCODER) == []
