import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.learn.f0_error import HOP, WINDOW, Contour, F0Errors, above, compare, f0_errors, mean_rate, yin
from stlm.types import Audio


def buzz(hertz: float | np.ndarray, seconds: float = 0.5, rate: int = 16000) -> Audio:
    phase = 2 * np.pi * np.cumsum(np.full(int(seconds * rate), hertz) / rate)
    samples = sum(np.sin(n * phase) / n for n in range(1, 6))
    return Audio(samples=(0.2 * samples).astype(np.float32), sample_rate=rate)


def noise(seconds: float = 0.5, rate: int = 16000) -> Audio:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * rate))
    return Audio(samples=samples.astype(np.float32), sample_rate=rate)


def joined(*parts: Audio) -> Audio:
    return Audio(samples=np.concatenate([part.samples for part in parts]), sample_rate=parts[0].sample_rate)


def test_frames_counted_by_hand():
    reference = np.array([100.0, 100.0, 100.0, 100.0, 0.0, 0.0, 200.0, 200.0])
    other = np.array([100.0, 119.0, 121.0, 0.0, 0.0, 90.0, 161.0, 159.0])
    #                  right  right   gross  voicing right voicing right  gross
    assert compare(reference, other) == F0Errors(gross=2, voicing=2, frames=8)
    assert compare(reference, other).rate == 0.5


@pytest.mark.parametrize("hertz", [50.0, 100.0, 160.0, 250.0, 500.0])
def test_a_fifth_too_low_is_an_error_and_a_fifth_too_high_is_none(hertz: float):
    reference = np.array([hertz])
    assert compare(reference, reference * 0.8).gross == 1
    assert compare(reference, reference * 1.2).gross == 0
    assert compare(reference, reference * 0.8001).gross == 0
    assert compare(reference, reference * 1.2001).gross == 1


def test_a_corpus_is_the_mean_over_utterances_however_long():
    errors = [F0Errors(gross=1, voicing=0, frames=2), F0Errors(gross=0, voicing=1, frames=10)]
    assert mean_rate(errors) == pytest.approx((0.5 + 0.1) / 2)
    with pytest.raises(DataError, match="no utterance"):
        mean_rate([])


def test_the_nearest_frame_counts_and_nothing_outside():
    contour = Contour(times=np.array([0.0, 1.0, 2.0]), f0=np.array([100.0, 200.0, 300.0]))
    times = np.array([-0.01, 0.0, 0.49, 0.5, 0.51, 1.5, 2.0, 2.01])
    assert contour.at(times).tolist() == [0, 100, 100, 100, 200, 200, 300, 0]
    assert Contour(times=np.zeros(0), f0=np.zeros(0)).at(times).tolist() == [0] * 8


def test_a_floor_makes_low_frames_unvoiced():
    assert above(np.array([0.0, 49.9, 50.0, 120.0]), 50.0).tolist() == [0, 0, 50, 120]


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize("hertz", [105.0, 180.0, 330.0, 480.0])
def test_yin_finds_a_pitch_at_every_rate(rate: int, hertz: float):
    found = yin(buzz(hertz, rate=rate))
    assert len(found.f0) > 10
    assert (np.abs(found.f0 / hertz - 1) < 1.5 * hertz / rate + 0.002).all()  # a lag is a whole number of samples
    np.testing.assert_allclose(np.diff(found.times), HOP / rate)


def test_yin_finds_no_pitch_in_noise_and_silence():
    assert not yin(noise()).f0.any()
    assert not yin(Audio(samples=np.zeros(8000, np.float32), sample_rate=16000)).f0.any()


def test_a_low_voice_needs_the_low_floor():
    low = buzz(70.0)
    np.testing.assert_allclose(yin(low, floor_hz=50.0).f0, 70.0, rtol=0.01)
    assert not np.isclose(yin(low).f0, 70.0, rtol=0.1).any()


def test_yin_equals_its_equations_summed_by_hand():
    audio = joined(buzz(150.0, 0.1), noise(0.1))
    samples, longest = audio.samples.astype(np.float64), 160
    found = yin(audio)
    for frame in range(0, len(found.f0)):
        start = frame * HOP
        piece = samples[start : start + WINDOW]
        difference = [((piece - samples[start + lag : start + lag + WINDOW]) ** 2).sum() for lag in range(longest + 1)]
        scaled = [1.0] + [difference[lag] * lag / sum(difference[1 : lag + 1]) for lag in range(1, longest + 1)]
        lag = next((lag for lag in range(32, longest + 1) if scaled[lag] < 0.1), 0)
        while lag and lag < longest and scaled[lag + 1] < scaled[lag]:
            lag += 1
        assert found.f0[frame] == (16000 / lag if lag else 0)
    assert 0 < (found.f0 > 0).sum() < len(found.f0)


def test_recordings_are_compared_on_the_clock_of_the_reference():
    reference = joined(buzz(150.0), noise(), buzz(150.0))
    assert f0_errors(reference, reference).rate == 0
    off = f0_errors(reference, joined(buzz(200.0), noise(), buzz(150.0)))
    assert off.gross / off.frames == pytest.approx(1 / 3, abs=0.03)
    shorter = f0_errors(reference, joined(buzz(150.0), noise()))
    assert shorter.voicing / shorter.frames == pytest.approx(1 / 3, abs=0.03)
    assert shorter.frames == off.frames


def test_two_sampling_rates_are_refused():
    with pytest.raises(DataError, match="16000 and 8000 Hz, expected one sampling rate"):
        f0_errors(buzz(150.0), buzz(150.0, rate=8000))


def test_contours_of_two_lengths_and_empty_ones_are_refused():
    with pytest.raises(DataError, match=r"got \[2\] and \[3\]"):
        compare(np.ones(2), np.ones(3))
    with pytest.raises(DataError, match=r"got \[0\]"):
        f0_errors(buzz(150.0, 0.01), buzz(150.0, 0.01))


def test_an_empty_range_is_refused():
    with pytest.raises(ConfigError, match="0 < floor < ceiling"):
        yin(buzz(150.0), floor_hz=600.0)
