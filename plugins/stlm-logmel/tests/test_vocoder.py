"""Resynthesis has the right length and level, repeats itself, and sounds like what was encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.mel import LogMel
from stlm.types import AlignedUnits, Utterance
from stlm_logmel import encoder as encoder_module
from stlm_logmel.encoder import LogMelEncoder
from stlm_logmel.features import FeatureOptions
from stlm_logmel.sounds import sound_options
from stlm_logmel.vocoder import Config, GriffinLimVocoder, build


@pytest.fixture(scope="module")
def encoder(codebook_path: Path) -> LogMelEncoder:
    return encoder_module.build(encoder_module.Config(path=str(codebook_path)))


@pytest.fixture(scope="module")
def vocoder(codebook_path: Path) -> GriffinLimVocoder:
    return build(Config(path=str(codebook_path)))


def units(codes: np.ndarray, durations: np.ndarray | None = None) -> AlignedUnits:
    return AlignedUnits(streams={"logmel": codes.astype(np.uint16).reshape(-1, 1)}, durations=durations)


@pytest.mark.parametrize("length", [0, 1, 2, 30])
def test_every_frame_is_a_hop_of_samples(vocoder: GriffinLimVocoder, length: int) -> None:
    audio = vocoder.synthesize(units(np.arange(length)))
    assert audio.num_samples == 640 * length
    assert np.isfinite(audio.samples).all()


def test_durations_repeat_frames(vocoder: GriffinLimVocoder) -> None:
    codes, durations = np.array([3, 1, 4]), np.array([2, 1, 3], np.int32)
    short = vocoder.synthesize(units(codes, durations))
    np.testing.assert_array_equal(short.samples, vocoder.synthesize(units(np.repeat(codes, durations))).samples)


def test_it_repeats_itself_and_follows_its_seed(vocoder: GriffinLimVocoder, codebook_path: Path) -> None:
    codes = units(np.arange(20))
    torch.manual_seed(1)
    first = vocoder.synthesize(codes).samples
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, vocoder.synthesize(codes).samples)
    other = build(Config(path=str(codebook_path), seed=1)).synthesize(codes).samples
    assert not np.array_equal(first, other)


def spectral_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Log-spectral distance in dB over the frames of the first within 50 dB of its loudest, less the mean spectra."""
    log_mel = LogMel(sound_options(FeatureOptions()))
    length = min(len(first), len(second))
    a, b = log_mel.split([first[:length], second[:length]])
    active = a.mean(1) > a.mean(1).max() - 11.5
    difference = a[active] - a[active].mean(0) - b[active] + b[active].mean(0)
    return float(difference.square().mean(1).sqrt().mean()) * 10 / np.log(10)


def test_resynthesis_is_closer_to_its_own_source_than_to_another(
    encoder: LogMelEncoder, vocoder: GriffinLimVocoder, recordings: list[Utterance]
) -> None:
    sounds = [item.audio for item in recordings[:4]]
    made = [vocoder.synthesize(units(item.codes)).samples for item in encoder.encode(sounds)]
    own = [spectral_distance(sound.samples, other) for sound, other in zip(sounds, made, strict=True)]
    wrong = [spectral_distance(sound.samples, made[index - 1]) for index, sound in enumerate(sounds)]
    assert max(own) < 0.75 * min(wrong)


def test_resynthesis_encodes_to_much_the_same_units(
    encoder: LogMelEncoder, vocoder: GriffinLimVocoder, recordings: list[Utterance]
) -> None:
    (before,) = encoder.encode([recordings[0].audio])
    (after,) = encoder.encode([vocoder.synthesize(units(before.codes))])
    assert np.mean(before.codes == after.codes) > 0.35  # chance is about 0.05


def test_level_is_that_of_the_training_speech(
    encoder: LogMelEncoder, vocoder: GriffinLimVocoder, recordings: list[Utterance]
) -> None:
    sounds = [item.audio for item in recordings]
    made = np.concatenate([vocoder.synthesize(units(item.codes)).samples for item in encoder.encode(sounds)])
    ratio = made.std() / np.concatenate([sound.samples for sound in sounds]).std()
    assert abs(20 * np.log10(ratio)) < 4


def test_gain_makes_it_louder(codebook_path: Path) -> None:
    codes = units(np.arange(20))
    soft, loud = (build(Config(path=str(codebook_path), gain_db=gain)).synthesize(codes) for gain in (-30.0, -20.0))
    assert 20 * np.log10(loud.samples.std() / soft.samples.std()) == pytest.approx(10, abs=0.1)


def test_what_it_cannot_do_is_an_error(vocoder: GriffinLimVocoder, codebook_path: Path) -> None:
    with pytest.raises(DataError, match="needs stream 'logmel'"):
        vocoder.synthesize(AlignedUnits(streams={"hubert": np.zeros((3, 1), np.uint16)}))
    with pytest.raises(FormatError, match=r"code 32 is outside 0\.\.31"):
        vocoder.synthesize(units(np.array([32])))
    with pytest.raises(ConfigError, match="one voice"):
        vocoder.synthesize(units(np.array([0])), voice="anna")
    with pytest.raises(ConfigError, match="iterations"):
        build(Config(path=str(codebook_path), iterations=0))
