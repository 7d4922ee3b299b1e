"""Pieces are in order, disjoint, hold all speech and none is longer than asked; words and text are cut with them."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.audio import audio_of, probe_audio, write_audio
from stlm.errors import ConfigError
from stlm.testing.contracts import StageContract
from stlm.testing.factories import HUBERT, make_corpus, make_units, make_utterance
from stlm.types import Audio, AudioRef, Rejected, Utterance, Word
from stlm_vad.cuts import cut, gaps, silences, without
from stlm_vad.silero import HOP
from stlm_vad.split import Config, SplitStage, build

RATE = 16000


def loud(blocks) -> np.ndarray:
    """Stands for a detector: a frame is speech if it can be heard."""
    frames = np.concatenate(list(blocks))
    frames = np.pad(frames, (0, -len(frames) % HOP)).reshape(-1, HOP)
    return (np.abs(frames).max(axis=1) > 0.01).astype(np.float32)


def splitter(**options: float) -> SplitStage:
    return SplitStage(Config(**options), loud)


def talk(*turns: float, rate: int = RATE) -> Audio:
    """Seconds of noise and of silence in turn, beginning with noise."""
    rng = np.random.default_rng(0)
    parts = [(place % 2 == 0) * rng.uniform(0.05, 0.1, round(rate * seconds)) for place, seconds in enumerate(turns)]
    return Audio(samples=np.concatenate(parts).astype(np.float32), sample_rate=rate)


def seconds(found) -> list[tuple[float, float]]:
    """From where to where each piece goes."""
    starts = [int(item.meta["start_sample"]) for item in found]
    return [
        (start / item.audio.sample_rate, (start + item.audio.num_samples) / item.audio.sample_rate)
        for start, item in zip(starts, found, strict=True)
    ]


class TestSplit(StageContract):
    component = "split"

    @pytest.fixture
    def stage(self) -> SplitStage:
        return build(Config(longest=2.0, shortest=0.2))

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        with_words = [replace(item, streams={}) for item in make_corpus(4, seed=3)]
        alone = [replace(item, id=f"{item.id}-alone", text=None, words=()) for item in with_words]
        untimed = [replace(item, id=f"{item.id}-untimed", words=()) for item in with_words]
        return [*with_words, *alone, *untimed, Utterance(id="text", text="only text")]


def test_a_recording_is_cut_in_the_widest_pause_of_the_second_half() -> None:
    item = Utterance(id="a", audio=talk(6, 0.4, 1, 0.8, 5), speaker="s", meta={"book": "b"})
    found = list(splitter(longest=10).apply([item]))
    ((start, middle), (again, end)) = seconds(found)
    assert (start, end) == (0, 13.2) and middle == again == pytest.approx(7.8, abs=0.04)
    assert [piece.id for piece in found] == ["a#0001", "a#0002"]
    assert found[1].meta == {"book": "b", "recording": "a", "start_sample": str(round(middle * RATE))}
    assert found[1].speaker == "s" and found[1].text is None
    np.testing.assert_array_equal(np.concatenate([piece.audio.samples for piece in found]), item.audio.samples)


def test_speech_without_a_pause_is_cut_where_it_is_least_like_speech() -> None:
    def unsure(blocks) -> np.ndarray:
        speech = np.ones(len(loud(blocks)), np.float32)
        speech[250] = 0.6  # 8.0 to 8.032 s
        return speech

    found = list(SplitStage(Config(longest=10), unsure).apply([Utterance(id="a", audio=talk(13))]))
    assert seconds(found) == [(0, 8.016), (8.016, 13)]


def test_short_recordings_text_and_rejected_inputs_pass_by() -> None:
    items = [Utterance(id="a", audio=talk(10)), Utterance(id="b", text="x" * 100), Rejected(id="c", reason="broken")]
    assert list(splitter(longest=10).apply(items)) == items


@pytest.mark.parametrize("seed", range(8))
def test_pieces_are_disjoint_in_order_not_too_long_and_hold_all_speech(seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio = talk(*rng.choice([0.1, 0.4, 1, 3, 9], size=40), rate=int(rng.choice([8000, 16000, 22050])))
    drop = float(rng.choice([0, 2, 4]))
    found = seconds(list(splitter(longest=7, shortest=0.8, drop_silence=drop).apply([Utterance(id="a", audio=audio)])))
    assert all(end - start < 7.00001 for start, end in found)
    assert all(end - start > 0.79999 for start, end in found[1:-1])
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert found[0][0] >= 0 and found[-1][1] <= audio.seconds
    covered = np.zeros(audio.num_samples, bool)
    for start, end in found:
        covered[round(start * audio.sample_rate) : round(end * audio.sample_rate)] = True
    assert covered[np.abs(audio.samples) > 0.01].all()
    if drop == 0:
        assert covered.all()


def test_long_silence_is_left_out_where_asked() -> None:
    item = Utterance(id="a", audio=talk(0, 5, 2, 6, 3, 1, 3, 9))
    found = seconds(list(splitter(longest=10, drop_silence=4).apply([item])))
    np.testing.assert_allclose(found, [(4, 8), (12, 21)], atol=0.04)
    (nothing,) = splitter(longest=10, drop_silence=4).apply([Utterance(id="b", audio=talk(0, 20))])
    assert isinstance(nothing, Rejected) and "no speech was found in 20 s" in nothing.reason
    assert len(list(splitter(longest=10).apply([Utterance(id="b", audio=talk(0, 20))]))) == 2


def story(*words: tuple[str, float, float], length: float) -> Utterance:
    text = " ".join(word for word, *_ in words) + "."
    timed, at = [], 0
    for word, start, end in words:
        bare = word.strip(",.")
        timed.append(
            Word(text=bare, start=round(start * RATE), end=round(end * RATE), char_start=at, char_end=at + len(bare))
        )
        at += len(word) + 1
    return Utterance(id="a", audio=talk(length), text=text, words=tuple(timed))


def test_with_word_times_it_is_cut_between_words_and_the_text_too() -> None:
    item = story(("One,", 0.5, 3), ("two", 3, 6.5), ("three.", 6.5, 7), ("Four", 8, 12), length=13)
    one, two = splitter(longest=10).apply([item])
    assert seconds([one, two]) == [(0, 7.5), (7.5, 13)]
    assert (one.text, two.text) == ("One, two three.", "Four.")
    assert [(word.text, word.start / RATE) for word in two.words] == [("Four", 0.5)]
    for piece in (one, two):
        assert all(piece.text[word.char_start : word.char_end] == word.text for word in piece.words)


def test_words_without_a_pause_between_them_are_not_cut_apart() -> None:
    item = story(*((f"w{n}", n, n + 1) for n in range(25)), length=25)
    found = list(splitter(longest=10).apply([item]))
    assert all(end == round(end) for _, end in seconds(found))
    assert [word.text for piece in found for word in piece.words] == [f"w{n}" for n in range(25)]


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_a_story_hold_its_words_and_its_text(seed: int) -> None:
    item = replace(make_utterance(seed, num_words=60), streams={})
    found = list(splitter(longest=3, shortest=0.1).apply([item]))
    assert len(found) > 5 and all(piece.audio.seconds <= 3 for piece in found)
    assert " ".join(piece.text for piece in found if piece.text) == item.text
    words = [(int(piece.meta["start_sample"]) + word.start, word.text) for piece in found for word in piece.words]
    assert words == [(word.start, word.text) for word in item.words]
    for piece in found:
        assert all(piece.text[word.char_start : word.char_end] == word.text for word in piece.words)


def test_a_word_longer_than_half_a_piece_is_kept_whole_and_one_longer_than_a_piece_refused() -> None:
    item = story(("short", 0, 2), ("looong", 2.2, 10.8), ("short", 10.8, 13), length=13)
    assert seconds(list(splitter(longest=10).apply([item]))) == [(0, 2.1), (2.1, 10.8), (10.8, 13)]
    (refused,) = splitter(longest=5).apply([item])
    assert isinstance(refused, Rejected) and "a word at 2.10 s fills a whole piece" in refused.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"text": "spoken"}, "13 s long, cannot be cut: it has text without word times"),
        ({"streams": {"hubert": make_units(HUBERT, 5, np.random.default_rng(0))}}, "it has units already"),
    ],
)
def test_what_cannot_be_cut_is_noted_and_goes_on_whole(changes: dict, reason: str) -> None:
    item = Utterance(id="a", audio=talk(13), **changes)
    note, kept = splitter(longest=10).apply([item])
    assert isinstance(note, Rejected) and reason in note.reason and note.kept_as == "uncut"
    assert kept is item


@pytest.mark.parametrize("rate", [16000, 44100])
def test_pieces_of_a_file_are_stretches_of_it(tmp_path: Path, rate: int) -> None:
    audio = talk(40, 1, 50, 1, 40, rate=rate)
    write_audio(tmp_path / "a.flac", audio)
    whole = probe_audio(tmp_path / "a.flac")
    ref = replace(whole, start=rate, num_samples=whole.num_samples - rate)
    found = list(splitter(longest=100).apply([Utterance(id="a", audio=ref)]))
    assert all(isinstance(piece.audio, AudioRef) for piece in found)
    assert found[0].audio.start == rate and seconds(found)[0][1] == pytest.approx(90.5, abs=0.05)
    samples = np.concatenate([audio_of(piece).samples for piece in found])
    np.testing.assert_allclose(samples, audio.samples[rate:], atol=1e-4)


def test_a_file_that_breaks_off_is_rejected(tmp_path: Path) -> None:
    ref = AudioRef(uri=str(tmp_path / "gone.wav"), sample_rate=RATE, num_samples=RATE * 60)
    (item,) = splitter(longest=10).apply([Utterance(id="a", audio=ref)])
    assert isinstance(item, Rejected) and "no such file" in item.reason and item.kept_as is None


@pytest.mark.slow
def test_three_hours_take_little_memory(tmp_path: Path) -> None:
    minute = talk(20, 0.5, 25, 0.5, 14, rate=8000)
    with soundfile.SoundFile(tmp_path / "a.flac", "w", samplerate=8000, channels=1) as file:
        for _ in range(180):
            file.write(minute.samples)
    item = Utterance(id="a", audio=probe_audio(tmp_path / "a.flac"))
    stage = build(Config())
    tracemalloc.start()
    try:
        found = list(stage.apply([item]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds(found)[-1][1] == 3 * 3600 and len(found) >= 360
    assert peak < 40e6  # the samples alone are 346 MB


def test_silences_are_runs_of_frames_without_speech() -> None:
    speech = np.array([0, 0, 1, 0, 1, 0, 0], bool)
    assert silences(speech, 100.0, 650, 150) == [(0, 200), (500, 650)]
    assert silences(speech, 100.0, 650, 100) == [(0, 200), (300, 400), (500, 650)]
    assert silences(np.zeros(3, bool), 100.0, 300, 100) == [(0, 300)] and silences(~speech[:0], 100.0, 0, 1) == []


def test_gaps_are_what_words_leave() -> None:
    words = [Word(text="a", start=start, end=start + 10, char_start=0, char_end=1) for start in (5, 15, 30)]
    assert gaps(words, 40) == [(0, 5), (15, 15), (25, 30), (40, 40)]


def test_of_long_pauses_a_margin_stays() -> None:
    assert without([(0, 50), (100, 120), (200, 260)], 300, least=40, margin=20) == [(30, 220), (240, 300)]
    assert without([(0, 300)], 300, least=40, margin=20) == []


def test_cuts_leave_no_piece_that_is_too_short() -> None:
    assert cut((0, 105), [(99, 99)], longest=100, shortest=10, otherwise=lambda first, last: last) == [
        (0, 95),
        (95, 105),
    ]
    assert cut((10, 110), [], longest=100, shortest=10, otherwise=min) == [(10, 110)]


@pytest.mark.parametrize(
    "options", [{"shortest": 0.0}, {"shortest": 16.0}, {"pause": 0.0}, {"threshold": 1.0}, {"drop_silence": 1.5}]
)
def test_impossible_options_are_config_errors(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="stage split needs"):
        Config(**options)
