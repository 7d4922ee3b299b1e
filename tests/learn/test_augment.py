import numpy as np
import pytest

from stlm.learn.augment import (
    AUGMENTATIONS,
    SAMPLE_RATE,
    add_noise,
    change_gain,
    change_speed,
    reverberate,
    shift_pitch,
    stretch,
)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.1 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def pitch_of(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax()) * SAMPLE_RATE / len(samples)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.2])
def test_stretching_changes_the_length_and_neither_pitch_nor_level(factor):
    made = stretch(tone(200), factor)
    assert len(made) == round(SAMPLE_RATE / factor)
    assert pitch_of(made) == pytest.approx(200, abs=1.5)
    assert made[400:-400].std() == pytest.approx(tone(200).std(), rel=0.02)


def test_stretching_moves_events_in_step_with_time():
    clicks = np.zeros(SAMPLE_RATE, np.float32)
    clicks[[4000, 12000]] = 1
    found = np.flatnonzero(stretch(clicks, 0.8) > 0.3)
    assert abs(found[0] - 5000) < 200 and abs(found[-1] - 15000) < 200


@pytest.mark.parametrize("semitones", [-4, 0, 3])
def test_shifting_pitch_keeps_the_length(semitones):
    made = shift_pitch(tone(200), semitones)
    assert len(made) == SAMPLE_RATE
    assert pitch_of(made) == pytest.approx(200 * 2 ** (semitones / 12), abs=1.5)


def test_speed_changes_length_and_pitch_together():
    made = change_speed(tone(200), 1.25)
    assert len(made) == SAMPLE_RATE / 1.25
    assert pitch_of(made) == pytest.approx(250, abs=1.5)


@pytest.mark.parametrize("snr_db", [0.0, 15.0])
def test_noise_has_the_level_that_was_asked_for(snr_db):
    sound = tone(300)
    noise = add_noise(sound, np.random.default_rng(0), snr_db) - sound
    assert 20 * np.log10(sound.std() / np.sqrt(np.square(noise).mean())) == pytest.approx(snr_db, abs=0.01)


def test_an_echo_follows_a_sound_and_never_comes_before_it():
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[4000] = 0.5
    made = reverberate(click, np.random.default_rng(0), 0.3)
    assert np.abs(made[:4000]).max() < 1e-6
    assert np.abs(made[4100:6000]).max() > 1e-3
    assert np.square(made).mean() == pytest.approx(np.square(click).mean(), rel=1e-4)


def test_gain_is_in_decibels():
    assert change_gain(tone(100), 20.0).std() == pytest.approx(10 * tone(100).std(), rel=1e-5)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_follows_from_its_generator_alone(name):
    first, again, other = (AUGMENTATIONS[name](tone(200, 0.4), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32 and np.isfinite(first).all()
    assert len(first) != len(other) or not np.array_equal(first, other)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("length", [0, 1, 100])
def test_tiny_and_silent_sounds_stay_finite(name, length):
    made = AUGMENTATIONS[name](np.zeros(length, np.float32), np.random.default_rng(0))
    assert np.isfinite(made).all()
    assert not made.any()
