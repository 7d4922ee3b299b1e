"""Resynthesis: laws of its figures, with judges that know the answer and judges that do not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.evals.report.resynthesis import write_resynthesis
from stlm.evals.resynthesis import Copy, Figure, Resynthesizer, Row, edits, resynthesize
from stlm.interfaces import Classifier, Judge
from stlm.testing.factories import tiny_system
from stlm.testing.fakes import AutocorrelationF0, EnergyJudge, LoudnessClassifier, ToneVocoder
from stlm.types import Audio, Utterance

RATE = 16_000


def recording(index: int, seconds: float = 1.0) -> Utterance:
    time = np.arange(int(seconds * RATE)) / RATE
    tone = (0.3 * np.sin(2 * np.pi * (150 + 20 * index) * time)).astype(np.float32)
    return Utterance(
        id=f"tone-{index}",
        audio=Audio(samples=tone, sample_rate=RATE),
        text=f"Tone number {'abcdefgh'[index]}.",
        speaker="low" if index % 2 else "somebody",
        labels={"style": "loud"},
    )


@pytest.fixture
def recordings() -> list[Utterance]:
    return [recording(index) for index in range(4)]


@pytest.fixture
def system() -> Resynthesizer:
    whole = tiny_system()
    assert whole.vocoder is not None
    return Resynthesizer(name="tiny", codec=whole.codec, encoders=whole.encoders, vocoder=whole.vocoder)


class Oracle(Judge):
    """Knows what is said, in order."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.at = texts, 0

    def transcribe(self, batch):
        first, self.at = self.at, (self.at + len(batch)) % len(self.texts)
        return self.texts[first : first + len(batch)]


class Constant(Classifier):
    labels = ("loud", "quiet")

    def classify(self, batch):
        return ["loud"] * len(batch)


def test_an_oracle_judge_finds_no_error_and_a_deaf_one_only_errors(system, recordings):
    texts = [utterance.text for utterance in recordings]
    for row in resynthesize([system], recordings, judge=Oracle(texts)):
        assert row.figures["wer"].value == row.figures["cer"].value == 0
    for row in resynthesize([system], recordings, judge=Oracle(["" for _ in texts])):
        assert row.figures["wer"].value == row.figures["cer"].value == 100


def test_the_judge_s_own_errors_stand_beside_those_of_the_systems(system, recordings):
    original, tiny = resynthesize([system], recordings, judge=EnergyJudge())
    assert (original.name, tiny.name) == ("original", "tiny")
    assert original.bitrate is None and original.figures["wer"].value == 100  # "sound" for three words
    assert not any(name.startswith("ffe") for name in original.figures)


def test_style_accuracy_counts_labelled_recordings_only(system, recordings):
    mixed = [*recordings[:3], replace(recordings[3], labels={"style": "quiet"}), replace(recording(4), labels={})]
    row = resynthesize([system], mixed, classifier=Constant())[0]
    assert row.figures["style"].value == 75 and row.figures["style"].n == 4


def test_bitrate_is_the_sum_over_codebooks_at_nominal_rates(system):
    spec = system.encoders["energy"].spec
    assert system.bitrate == pytest.approx(spec.frame_rate_hz * math.log2(spec.codebook_sizes[0]))


def test_a_copy_that_is_the_original_has_no_f0_error(system, recordings, monkeypatch):
    monkeypatch.setattr(
        Resynthesizer, "say", lambda self, batch, voices, durations: [Copy(audio=audio) for audio in batch]
    )
    figures = resynthesize([system], recordings, f0_extractor=AutocorrelationF0())[1].figures
    assert figures["ffe_yin_100"].value == figures["ffe_yin_50"].value == figures["ffe_tracker"].value == 0


def test_a_copy_an_octave_higher_has_only_f0_errors(system, recordings, monkeypatch):
    def octave(self, batch, voices, durations):
        return [Copy(audio=Audio(samples=np.repeat(audio.samples[::2], 1), sample_rate=RATE)) for audio in batch]

    monkeypatch.setattr(Resynthesizer, "say", octave)
    assert resynthesize([system], recordings)[1].figures["ffe_yin_50"].value > 90


def test_predicted_durations_have_no_f0_error(system, recordings):
    assert "ffe_yin_50" not in resynthesize([system], recordings, durations="predicted")[1].figures
    with pytest.raises(ConfigError, match="durations must be kept or predicted"):
        resynthesize([system], recordings, durations="guessed")


def test_known_speakers_keep_their_voice_and_others_get_the_same_one_again(system, recordings):
    asked: list[str | int | None] = []

    class Spy(ToneVocoder):
        def synthesize(self, units, voice=None, style=None):
            asked.append(voice)
            return super().synthesize(units, voice, style)

    system = replace(system, vocoder=Spy())
    resynthesize([system], recordings, seed=3)
    resynthesize([system], recordings, seed=3)
    assert asked[:4] == asked[4:] and asked[1] == asked[3] == "low"


def test_too_short_recordings_stay_silent_and_cost_all_their_words(system):
    short = recording(0, seconds=0.001)
    row = resynthesize([system], [short], judge=EnergyJudge(), classifier=LoudnessClassifier())[1]
    assert row.copies[0].audio.num_samples == 0 and row.figures["wer"].value == 100


def test_no_recordings_is_an_error(system):
    with pytest.raises(DataError, match="no recordings"):
        resynthesize([system], [])


@pytest.mark.parametrize(
    ("got", "expected", "number"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)]
)
def test_edits_are_levenshtein_s(got, expected, number):
    assert edits(got, expected) == number


def test_a_figure_is_the_ratio_of_sums_within_its_interval():
    figure = Figure.of([1, 0, 3], [4, 2, 4])
    assert figure.value == pytest.approx(0.4) and figure.ci95[0] <= 0.4 <= figure.ci95[1]
    assert Figure.of([0.0], [0.0]) is None


def test_the_report_holds_every_figure_and_plays_every_example(system, recordings, tmp_path: Path):
    rows = resynthesize([system], recordings, judge=EnergyJudge(), classifier=LoudnessClassifier())
    write_resynthesis(rows, recordings, tmp_path, num_examples=2, facts=[("Recordings", "4")], details={"seed": 0})
    page = (tmp_path / "report.html").read_text()
    assert page.count("<audio") == 4 and "tone-0" in page and "tone-3" in page and "tone-1" not in page
    assert "http" not in page.replace("http-equiv", "")
    figures = json.loads((tmp_path / "results.json").read_text())["systems"]
    assert set(figures) == {"original", "tiny"} and figures["tiny"]["wer"]["value"] == rows[1].figures["wer"].value
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert len(items) == 8 and sum(item["word_errors"] for item in items if item["system"] == "tiny") == 12


def test_a_row_without_judges_has_no_figures():
    silent = Audio(samples=np.zeros(0, np.float32), sample_rate=RATE)
    assert Row(name="original", bitrate=None, copies=[Copy(audio=silent)], labels=[None]).figures == {}
