"""The two pitch trackers: grids, silence, thresholds, and what they do not print, install or change."""

from __future__ import annotations

import pickle
import sys
from importlib.metadata import requires

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError
from stlm.plugin import default_registry
from stlm.types import Audio
from stlm_pitch import fcpe as fcpe_module
from stlm_pitch.fcpe import Config, FcpeExtractor
from stlm_pitch.praat import Config as PraatConfig
from stlm_pitch.praat import PraatExtractor

from .conftest import RATE, spoken


def audio(samples: np.ndarray, rate: int = RATE) -> Audio:
    return Audio(samples=samples.astype(np.float32), sample_rate=rate)


@pytest.fixture
def praat() -> PraatExtractor:
    pytest.importorskip("parselmouth", reason="needs stlm-pitch[praat]")
    return PraatExtractor()


@pytest.mark.parametrize("length", [0, 1, 3, 159, 160, 161, 1023, 1280, 5000])
def test_fcpe_has_a_frame_every_160_samples_and_one_more(fcpe: FcpeExtractor, length: int) -> None:
    f0, voiced = fcpe.extract(audio(spoken(1).samples[:length]))
    assert len(f0) == len(voiced) == length // 160 + 1


def test_unvoiced_frames_are_zero_and_voiced_ones_at_least_the_minimum(fcpe: FcpeExtractor) -> None:
    f0, voiced = fcpe.extract(spoken(2))
    assert 0.2 < voiced.mean() < 0.95
    assert (f0[voiced] >= 50).all() and not f0[~voiced].any()


def test_noise_without_any_voice_is_no_error(fcpe: FcpeExtractor) -> None:
    f0, voiced = fcpe.extract(audio(np.random.default_rng(0).normal(0, 0.05, RATE)))
    assert not f0.any() and not voiced.any()


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    FcpeExtractor().extract(audio(3 * spoken(0.3).samples / 0.1))
    assert capfd.readouterr().out == ""


def test_the_global_generator_stays_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    FcpeExtractor().extract(spoken(0.3))
    assert torch.equal(torch.get_rng_state(), before)


def test_long_audio_goes_through_in_pieces(fcpe: FcpeExtractor, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = spoken(1.3).samples
    parts = [fcpe.extract(audio(sound[start : start + 8000]))[0] for start in (0, 8000, 16000)]
    monkeypatch.setattr(fcpe_module, "PIECE", 8000)
    whole, _ = fcpe.extract(audio(sound))
    assert len(whole) == len(sound) // 160 + 1
    np.testing.assert_array_equal(whole, np.concatenate([parts[0][:50], parts[1][:50], parts[2]]))


def test_the_threshold_decides_what_is_voiced(fcpe: FcpeExtractor) -> None:
    _, usual = fcpe.extract(spoken(2))
    _, strict = FcpeExtractor(Config(threshold=0.9)).extract(spoken(2))
    assert strict.sum() < usual.sum() and (usual | ~strict).all()


def test_the_minimum_decides_too(fcpe: FcpeExtractor) -> None:
    f0, _ = FcpeExtractor(Config(f0_min=150.0)).extract(spoken(2))
    usual, _ = fcpe.extract(spoken(2))
    np.testing.assert_array_equal(f0, np.where(usual < 150, 0, usual))
    assert 0 < (f0 > 0).sum() < (usual > 0).sum()


def test_other_rates_are_resampled(fcpe: FcpeExtractor) -> None:
    f0, voiced = fcpe.extract(spoken(2, rate=24000))
    same, _ = fcpe.extract(spoken(2))
    assert len(f0) == len(same)
    both = voiced & (same > 0)
    assert both.sum() > 30 and np.median(np.abs(f0 / np.maximum(same, 1) - 1)[both]) < 0.01


def test_it_pickles_as_its_config(fcpe: FcpeExtractor) -> None:
    data = pickle.dumps(fcpe)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).extract(spoken(0.5))[0], fcpe.extract(spoken(0.5))[0])


def test_praat_and_fcpe_agree_on_a_gliding_voice(fcpe: FcpeExtractor, praat: PraatExtractor) -> None:
    ours, theirs = fcpe.extract(spoken(3)), praat.extract(spoken(3))
    assert len(ours[0]) == len(theirs[0])
    both = ours[1] & theirs[1]
    assert both.mean() > 0.4 and (ours[1] == theirs[1]).mean() > 0.85
    assert np.median(np.abs(ours[0][both] / theirs[0][both] - 1)) < 0.01, "on the same clock, a glide is met"


@pytest.mark.parametrize("length", [0, 1, 639, 640, 641, 4000])
def test_praat_takes_audio_shorter_than_its_window(praat: PraatExtractor, length: int) -> None:
    f0, _ = praat.extract(audio(spoken(1).samples[:length]))
    assert len(f0) == length // 160 + 1


def test_praat_is_an_extra_and_no_dependency(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = [need for need in requires("stlm-pitch") or [] if "extra ==" not in need]
    assert any("torchfcpe" in need for need in hard) and not any("parselmouth" in need for need in hard)
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(ConfigError, match=r"pip install 'stlm-pitch\[praat\]'"):
        default_registry().build("f0_extractor", "praat")


@pytest.mark.parametrize("name", ["fcpe", "praat"])
def test_audio_that_is_not_finite_is_an_error(name: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(DataError, match="NaN"):
        request.getfixturevalue(name).extract(audio(np.full(4000, np.inf)))


@pytest.mark.parametrize("options", [{"decoder_mode": "viterbi"}, {"threshold": 1.0}, {"f0_min": -1.0}])
def test_impossible_options_of_fcpe_are_config_errors(options: dict) -> None:
    with pytest.raises(ConfigError, match="fcpe"):
        Config(**options)


@pytest.mark.parametrize("options", [{"hop": 0}, {"floor": 0.0}, {"ceiling": 70.0}, {"ceiling": 9000.0}])
def test_impossible_options_of_praat_are_config_errors(options: dict) -> None:
    with pytest.raises(ConfigError, match="praat needs"):
        PraatConfig(**options)
