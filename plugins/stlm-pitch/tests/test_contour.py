"""The contour that the VQ-VAE sees: by hand on small arrays, and against FCPE's own interpolation on a voice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stlm.errors import DataError, FormatError
from stlm_pitch.contour import ContourOptions, bridge, contour, num_frames
from stlm_pitch.fcpe import FcpeExtractor

from .conftest import spoken

RAW = ContourOptions(subtract_mean=False)


def of(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_gaps_are_bridged_by_lines_with_constant_ends() -> None:
    f0 = of(0, 100, 0, 0, 400, 0)
    np.testing.assert_allclose(bridge(f0, f0 > 0), of(100, 100, 200, 300, 400, 400))
    one = of(0, 0, 70, 0)
    np.testing.assert_allclose(bridge(one, one > 0), of(70, 70, 70, 70))


def test_frames_below_50_hz_are_unvoiced_and_above_1100_hz_limited_after_interpolation() -> None:
    f0 = of(100, 49.9, 50, 0, 1300, 1300)
    rows = contour(f0, f0 > 0, 5 * 80, RAW)  # six frames of 80 samples
    np.testing.assert_allclose(rows[0], [100, 75, 50, 675, 1100, 1100])
    assert rows[1].tolist() == [1, 0, 1, 0, 1, 1]


def test_the_mean_over_voiced_frames_is_removed_from_all_frames() -> None:
    f0 = of(100, 0, 300, 0)
    rows = contour(f0, f0 > 0, 3 * 80, ContourOptions())
    np.testing.assert_allclose(rows[0], [-100, 0, 100, 100])


def test_without_interpolation_unvoiced_frames_stay_zero() -> None:
    f0 = of(100, 0, 300, 0)
    rows = contour(f0, f0 > 0, 3 * 80, ContourOptions(interpolate=False))
    np.testing.assert_allclose(rows[0], [-100, 0, 100, 0])


def test_no_voice_at_all_gives_zeros() -> None:
    rows = contour(np.zeros(9, np.float32), np.zeros(9, bool), 16 * 80, ContourOptions())
    assert rows.shape == (2, 17) and not rows.any()


@pytest.mark.parametrize("num_samples", [1280, 1599, 16000, 23456, 1_600_000])
def test_frames_repeat_from_10_to_5_ms(num_samples: int) -> None:
    T = num_samples // 160 + 1
    f0 = np.arange(100, 100 + T, dtype=np.float32) % 900 + 100
    rows = contour(f0, f0 > 0, num_samples, RAW)
    assert rows.shape == (2, num_frames(num_samples)) == (2, num_samples // 80 + 1)
    place = (np.arange(num_samples // 80 + 1) * (T / (num_samples // 80 + 1))).astype(int)
    assert np.mean(rows[0].numpy() != f0[place]) < 1e-3, "but for float32 rounding, frame t * T / T'"
    assert np.abs(place - np.arange(len(place)) / 2).max() <= 1, "which is frame t / 2, give or take one"


@pytest.mark.parametrize("length", [1280, 16001, 31999, 40000])
def test_it_equals_fcpe_s_own_interpolation_bit_by_bit(fcpe: FcpeExtractor, length: int) -> None:
    sound = spoken(3)
    sound = type(sound)(samples=sound.samples[:length], sample_rate=sound.sample_rate)
    f0, unvoiced = fcpe._model.infer(
        torch.from_numpy(sound.samples)[None, :, None],
        sr=16000,
        decoder_mode="local_argmax",
        threshold=0.05,
        f0_min=50,
        f0_max=1100,
        interp_uv=True,
        output_interp_target_length=length // 80 + 1,
        retur_uv=True,
    )
    rows = contour(*fcpe.extract(sound), length, RAW)
    np.testing.assert_array_equal(rows[0].numpy(), f0[0, :, 0].numpy())
    np.testing.assert_array_equal(rows[1].numpy(), 1 - unvoiced[0, :, 0].numpy())


@pytest.mark.parametrize(
    ("features", "speaker_norm", "expected"),
    [
        ("norm_f0_interp,vuv", False, ContourOptions(interpolate=True, subtract_mean=True)),
        ("f0_interp,vuv", False, ContourOptions(interpolate=True, subtract_mean=False)),
        ("f0_interp,vuv", True, ContourOptions(interpolate=True, subtract_mean=True)),
        ("norm_f0,vuv", False, ContourOptions(interpolate=False, subtract_mean=True)),
        ("f0,vuv", False, ContourOptions(interpolate=False, subtract_mean=False)),
    ],
)
def test_features_by_name(features: str, speaker_norm: bool, expected: ContourOptions) -> None:
    assert ContourOptions.from_features(features, speaker_norm) == expected


def test_unknown_features_are_format_errors() -> None:
    with pytest.raises(FormatError, match="key 'features' is 'log_f0,vuv'"):
        ContourOptions.from_features("log_f0,vuv", False)


@pytest.mark.parametrize(("f0", "voiced"), [(of(), of() > 0), (of(1, 2), of(1) > 0)])
def test_an_extractor_that_breaks_its_contract_is_named(f0: np.ndarray, voiced: np.ndarray) -> None:
    with pytest.raises(DataError, match="breaks its contract"):
        contour(f0, voiced, 1600, RAW)
