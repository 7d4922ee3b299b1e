"""Codes depend on the sound alone: not on the batch, the level or, much, the channel."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio, Utterance
from stlm_logmel.encoder import Config, LogMelEncoder, build
from stlm_logmel.features import FeatureOptions, UnitFeatures, temporal_patterns

RATE = 16000


@pytest.fixture(scope="module")
def encoder(codebook_path: Path) -> LogMelEncoder:
    return build(Config(path=str(codebook_path)))


def audio(samples: np.ndarray, rate: int = RATE) -> Audio:
    return Audio(samples=samples.astype(np.float32), sample_rate=rate)


def test_a_batch_gives_exactly_the_codes_of_singles(encoder: LogMelEncoder, recordings: list[Utterance]) -> None:
    sounds = [item.audio for item in recordings]
    cut = [audio(sound.samples[: 5000 * index + 7 * index]) for index, sound in enumerate(sounds)]
    for alone, together in zip(cut, encoder.encode(cut), strict=True):
        np.testing.assert_array_equal(encoder.encode([alone])[0].codes, together.codes)


@pytest.mark.parametrize("length", [0, 1, 10, 639, 640, 641, 1279, 1280, 6400])
def test_short_and_silent_audio_has_the_frames_that_the_spec_tells(encoder: LogMelEncoder, length: int) -> None:
    (units,) = encoder.encode([audio(np.zeros(length))])
    assert len(units) == encoder.spec.num_frames(length) == length // 640
    assert len(np.unique(units.codes)) <= 1
    units.check_range()


def test_level_does_not_matter(encoder: LogMelEncoder, recordings: list[Utterance]) -> None:
    samples = recordings[0].audio.samples
    loud, soft = encoder.encode([audio(samples), audio(samples / 8)])
    assert np.mean(loud.codes == soft.codes) > 0.98


def test_units_follow_the_vowel_and_not_the_pitch(encoder: LogMelEncoder, vowels: Audio) -> None:
    (units,) = encoder.encode([vowels])
    first, second, first_again, second_again = (set(part[2:-2, 0]) for part in np.array_split(units.codes, 4))
    assert first & first_again
    assert second & second_again
    assert not (first | first_again) & (second | second_again)


def test_other_rates_are_resampled(encoder: LogMelEncoder, recordings: list[Utterance]) -> None:
    samples = recordings[1].audio.samples[::2]
    (units,) = encoder.encode([audio(samples, 8000)])
    assert len(units) == encoder.spec.num_frames(2 * len(samples))


def test_audio_that_is_not_finite_is_an_error(encoder: LogMelEncoder) -> None:
    with pytest.raises(DataError, match="NaN"):
        encoder.encode([audio(np.full(2000, np.nan))])


def test_saving_keeps_fingerprint_and_codes(
    encoder: LogMelEncoder, recordings: list[Utterance], tmp_path: Path
) -> None:
    encoder.save(tmp_path)
    again = build(Config(path=str(tmp_path)))
    assert again.fingerprint == encoder.fingerprint
    assert pickle.loads(pickle.dumps(encoder)).fingerprint == encoder.fingerprint
    sound = recordings[2].audio
    np.testing.assert_array_equal(again.encode([sound])[0].codes, encoder.encode([sound])[0].codes)


def test_the_context_is_weighted_symmetrically() -> None:
    mean, slope, curvature = temporal_patterns(12, 3)
    assert mean.sum() == pytest.approx(1)
    np.testing.assert_allclose(mean, mean[::-1])
    np.testing.assert_allclose(slope, -slope[::-1], atol=1e-12)
    np.testing.assert_allclose(curvature, curvature[::-1], atol=1e-12)
    np.testing.assert_allclose([slope.sum(), curvature @ mean, slope @ mean], 0, atol=1e-12)


@pytest.mark.parametrize("options", [{"num_cepstra": 0}, {"variance": True}, {"hop": 320, "context": 6}, {"orders": 1}])
def test_every_choice_of_features_gives_the_right_shape(options: dict[str, int], recordings: list[Utterance]) -> None:
    features = UnitFeatures(FeatureOptions(**options))
    samples = recordings[0].audio.samples
    rows = features.joined([samples, np.zeros(100, np.float32)])
    assert rows.shape == (len(samples) // features.options.hop, features.options.num_dimensions)
    assert rows.isfinite().all()


@pytest.mark.parametrize(
    "options", [{"hop": 650}, {"context": 5}, {"orders": 4}, {"num_cepstra": 60}, {"f_max": 8001.0}, {"hop": 0}]
)
def test_impossible_options_are_config_errors(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        FeatureOptions(**options)


def test_a_missing_codebook_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe=logmel_kmeans"):
        build(Config())
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        build(Config(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot be read"),
        ("config.json", "[]", "no key 'features'"),
        ("config.json", '{"stream": "logmel"}', "no key 'features'"),
        ("config.json", '{"stream": "logmel", "features": {"hopp": 1}}', "did you mean 'hop'"),
        ("config.json", '{"stream": "logmel", "features": {"orders": 2}}', "expected float32"),
        ("codebook.safetensors", "junk", "cannot be read"),
    ],
)
def test_a_broken_codebook_is_one_clear_line(
    encoder: LogMelEncoder, tmp_path: Path, name: str, content: str, message: str
) -> None:
    encoder.save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, FormatError), match=message) as caught:
        build(Config(path=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
