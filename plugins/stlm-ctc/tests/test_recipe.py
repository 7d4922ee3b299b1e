"""Training learns, goes on where it was broken off, and says what is wrong with its data."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.learn.ctc_alignment import frames_needed
from stlm.learn.error_rates import error_rates
from stlm.types import Audio, Utterance
from stlm_ctc.judge import CtcJudge
from stlm_ctc.network import NetworkOptions
from stlm_ctc.recipe import Batches, Config, CtcRecipe
from stlm_ctc.recogniser import Recogniser
from stlm_ctc.transcribed import draw_group, transcribed

Songs = Callable[..., list[Utterance]]
LIMITS = {"sample_rate": 16000, "longest": 20.0, "options": NetworkOptions()}


def test_it_reads_songs_that_it_never_heard(recogniser: Recogniser, songs: Songs) -> None:
    new = songs(30, 9)
    found = CtcJudge(recogniser).transcribe([item.audio for item in new])
    assert error_rates(found, [item.text for item in new])["cer"] < 10


def test_error_rates_on_held_out_recordings_are_kept(trained: Path) -> None:
    held_out = json.loads((trained / "config.json").read_text())["held_out"]
    assert held_out["n"] == 8 and held_out["cer"] < 20


def test_a_batch_is_a_function_of_its_generator(songs: Songs, tiny: dict[str, Any]) -> None:
    data, _ = transcribed(songs(30), **LIMITS)
    batches = Batches(data, data.alphabet, Config(**tiny))
    one, two, other = (batches.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.features.equal(two.features) and one.seed == two.seed
    assert one.features.shape != other.features.shape or not one.features.equal(other.features)
    assert int(one.target_lengths.sum()) == len(one.targets)


def test_every_recording_is_drawn_equally_often() -> None:
    seconds = np.linspace(1, 9, 60)
    drawn = np.bincount(
        np.concatenate([draw_group(seconds, 30.0, np.random.default_rng(seed)) for seed in range(3000)]), minlength=60
    )
    assert drawn.min() > 0.75 * drawn.mean() and drawn.max() < 1.25 * drawn.mean()


def test_a_batch_holds_no_more_seconds_than_it_may() -> None:
    seconds = np.random.default_rng(0).uniform(0.5, 20, 400)
    for seed in range(50):
        places = draw_group(seconds, 40.0, np.random.default_rng(seed))
        assert len(places) * seconds[places].max() <= 40.0


def test_held_out_recordings_are_not_learnt(songs: Songs) -> None:
    learnt, held_out = transcribed(songs(50), **LIMITS)
    ids = [{item.id for item in part.recordings.utterances} for part in (learnt, held_out)]
    assert len(ids[1]) == 3 and len(ids[0]) == 47 and not ids[0] & ids[1]


def test_what_cannot_be_learnt_is_left_out_and_counted(songs: Songs, caplog: pytest.LogCaptureFixture) -> None:
    good, digits, empty, long, crowded, mute = songs(6)
    corpus = [
        good,
        replace(digits, text="4 a", words=()),
        replace(empty, text="!?", words=()),
        replace(long, audio=Audio(samples=np.ones(16000 * 21, np.float32), sample_rate=16000), words=()),
        replace(crowded, text="abcd " * 200, words=()),
        replace(mute, text=None, words=()),
    ]
    with caplog.at_level(logging.WARNING):
        learnt, _ = transcribed(corpus, **LIMITS)
    assert [item.id for item in learnt.recordings.utterances] == [good.id]
    for reason in ("digits", "without a letter", "longer than 20 s", "too short for", "without sound or transcript"):
        assert reason in caplog.text


def test_a_corpus_without_transcripts_is_a_data_error(songs: Songs) -> None:
    corpus = [replace(item, text=None, words=()) for item in songs(3)]
    with pytest.raises(DataError, match="3 without sound or transcript"):
        transcribed(corpus, **LIMITS)
    with pytest.raises(DataError, match="the source is empty"):
        transcribed([], **LIMITS)


def test_a_silent_corpus_is_a_data_error(songs: Songs) -> None:
    silent = [
        replace(item, audio=Audio(samples=np.zeros_like(item.audio.samples), sample_rate=16000)) for item in songs(3)
    ]
    with pytest.raises(DataError, match="silent"):
        transcribed(silent, **LIMITS)


def test_one_speaker_is_warned_of(songs: Songs, caplog: pytest.LogCaptureFixture) -> None:
    transcribed([replace(item, speaker="anna") for item in songs(3)], **LIMITS)
    assert "one speaker" in caplog.text


def test_a_recogniser_that_learnt_nothing_is_warned_of(
    songs: Songs, tiny: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    CtcRecipe(Config(**{**tiny, "max_steps": 1})).train(songs(4), tmp_path)
    assert "wrong, expected far fewer" in caplog.text


def test_ctc_needs_a_blank_between_equal_letters() -> None:
    assert [frames_needed(text) for text in ("", "abc", "aab", "aaa")] == [0, 3, 4, 5]


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="kernel"):
        Config(kernel=2)
    with pytest.raises(ConfigError, match="noise"):
        Config(noise=2.0)
    with pytest.raises(ConfigError, match="max_steps"):
        Config(max_steps=0)
