"""Broken listeners, each caught by the law that it breaks."""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from stlm.testing import fakes

TICKS = itertools.count()


class Overlaps(fakes.EvenAligner):
    def align(self, audio, text):
        words = super().align(audio, text)
        return (*words[:-1], replace(words[-1], start=0))


class WrongPlaces(fakes.EvenAligner):
    def align(self, audio, text):
        return tuple(replace(word, char_start=0, char_end=1) for word in super().align(audio, text))


class SkipsAWord(fakes.EvenAligner):
    def align(self, audio, text):
        return super().align(audio, text)[1:]


class AlignsSilence(fakes.EvenAligner):
    def align(self, audio, text):
        return super().align(audio, text) if audio.num_samples else ()


class Wavers(fakes.EvenAligner):
    def align(self, audio, text):
        words = super().align(audio, text)
        return tuple(replace(word, score=1 / (1 + next(TICKS))) for word in words)


class Sorts(fakes.EnergyJudge):
    def transcribe(self, batch):
        return sorted(super().transcribe(batch))


class HearsVoices(fakes.EnergyJudge):
    def transcribe(self, batch):
        return ["thank you" for _ in batch]


class SkipsSilence(fakes.EnergyJudge):
    def transcribe(self, batch):
        return [text for text in super().transcribe(batch) if text]


class NeverSilent(fakes.EnergyJudge):
    def transcribe(self, batch):
        return super().transcribe(batch) or [""]


class ChangesItsMind(fakes.EnergyJudge):
    def transcribe(self, batch):
        return [text and f"{text} {next(TICKS)}" for text in super().transcribe(batch)]


class Transposes(fakes.LoudnessClassifier):
    def classify(self, batch):
        return super().classify(batch)[::-1]


class InventsALabel(fakes.LoudnessClassifier):
    def classify(self, batch):
        return ["deafening" for _ in batch]


class ForgetsQuiet(fakes.LoudnessClassifier):
    def classify(self, batch):
        return [label for label in super().classify(batch) if label != "quiet"]


class OneLabelTwice(fakes.LoudnessClassifier):
    @property
    def labels(self):
        return ("quiet", "loud", "loud")


class NeedsSound(fakes.LoudnessClassifier):
    def classify(self, batch):
        return ["loud" if float(np.abs(audio.samples).max()) > 0.1 else "quiet" for audio in batch]


class AlwaysAnswers(fakes.LoudnessClassifier):
    def classify(self, batch):
        return super().classify(batch) or ["quiet"]


class TossesACoin(fakes.LoudnessClassifier):
    def classify(self, batch):
        return self.labels[next(TICKS) % 2 :][:1] * len(batch)


class OctaveTooHigh(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return 2 * super()._frame(frame)


class NanInSilence(fakes.AutocorrelationF0):
    def extract(self, audio):
        f0, voiced = super().extract(audio)
        return np.where(voiced, f0, np.nan).astype(np.float32), voiced


class VoicedSilence(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return super()._frame(frame) or 100.0


class HalfTheFrames(fakes.AutocorrelationF0):
    def extract(self, audio):
        f0, voiced = super().extract(audio)
        return f0[::2], voiced[::2]


class Trembles(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return super()._frame(frame) * (1 + 1e-4 * random.random())


class EatsOneLetter(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return super().normalize(text)[1:]


class Appends(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return super().normalize(text) or "<empty>"


class Stamps(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return f"{next(TICKS)}"


LISTEN = [
    ("AlignerContract", Overlaps, ("words_come_in_order_within_audio_and_text",)),
    ("AlignerContract", WrongPlaces, ("offsets_point_at_the_words",)),
    ("AlignerContract", SkipsAWord, ("every_letter_belongs_to_a_word",)),
    ("AlignerContract", AlignsSilence, ("text_that_cannot_be_aligned_is_a_data_error",)),
    ("AlignerContract", Wavers, ("it_is_deterministic",)),
    ("JudgeContract", Sorts, ("a_batch_gives_what_singles_give_in_order",)),
    ("JudgeContract", HearsVoices, ("silence_says_nothing",)),
    ("JudgeContract", SkipsSilence, ("every_audio_gets_one_text",)),
    ("JudgeContract", NeverSilent, ("no_audio_gives_no_text",)),
    ("JudgeContract", ChangesItsMind, ("it_is_deterministic",)),
    ("ClassifierContract", Transposes, ("a_batch_gives_what_singles_give_in_order",)),
    ("ClassifierContract", InventsALabel, ("every_audio_gets_one_of_the_labels",)),
    ("ClassifierContract", ForgetsQuiet, ("every_audio_gets_one_of_the_labels",)),
    ("ClassifierContract", NeedsSound, ("silence_is_no_error",)),
    ("ClassifierContract", AlwaysAnswers, ("no_audio_gives_no_label",)),
    ("ClassifierContract", TossesACoin, ("it_is_deterministic",)),
    ("ClassifierContract", OneLabelTwice, ("labels_are_distinct",)),
    ("F0ExtractorContract", OctaveTooHigh, ("a_steady_voice_has_its_pitch",)),
    ("F0ExtractorContract", NanInSilence, ("frames_have_pitch_and_voicing",)),
    ("F0ExtractorContract", VoicedSilence, ("silence_gives_zeros_and_no_error",)),
    ("F0ExtractorContract", HalfTheFrames, ("there_is_one_frame_each_hop",)),
    ("F0ExtractorContract", Trembles, ("it_is_deterministic",)),
    ("TextNormalizerContract", EatsOneLetter, ("it_is_idempotent",)),
    ("TextNormalizerContract", Appends, ("nothing_stays_nothing",)),
    ("TextNormalizerContract", Stamps, ("it_is_deterministic", "it_pickles")),
]


@pytest.mark.parametrize("case", LISTEN, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(LISTEN) == []
