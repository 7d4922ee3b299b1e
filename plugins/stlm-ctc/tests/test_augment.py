"""Distortions keep shape and meaning: off they change nothing, and equal generators give equal results."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError
from stlm_ctc.augment import AugmentOptions, distort, erase
from stlm_ctc.features import band_centres, log_mel_of

OFF = {"tempo": 0.0, "vocal_tract": 0.0, "formants": 0.0, "noise": 0.0, "blur": 0.0, "time_masks": 0, "band_masks": 0}
ROWS = torch.from_numpy(np.random.default_rng(0).normal(-5, 3, (200, 40)).astype(np.float32))

CENTRES = band_centres(log_mel_of(40, 16000).options)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_all_off_changes_nothing() -> None:
    options = AugmentOptions(**OFF)
    torch.testing.assert_close(distort(ROWS, CENTRES, options, rng()), ROWS)
    assert torch.equal(erase(ROWS, options, rng()), ROWS)


def test_equal_generators_give_equal_distortions() -> None:
    options = AugmentOptions(noise=1.0, blur=1.0)
    assert torch.equal(distort(ROWS, CENTRES, options, rng(3)), distort(ROWS, CENTRES, options, rng(3)))
    assert not torch.equal(distort(ROWS, CENTRES, options, rng(3))[:150], distort(ROWS, CENTRES, options, rng(4))[:150])


def test_tempo_changes_the_length_within_its_bounds() -> None:
    options = AugmentOptions(**{**OFF, "tempo": 0.2})
    lengths = [len(distort(ROWS, CENTRES, options, rng(seed))) for seed in range(40)]
    assert 200 / 1.2 - 1 <= min(lengths) < 180
    assert 220 < max(lengths) <= 200 / 0.8 + 1


def test_the_vocal_tract_moves_a_peak_by_its_share_of_hertz() -> None:
    options = AugmentOptions(**{**OFF, "vocal_tract": 0.1})
    peak = -torch.from_numpy(np.log(CENTRES / 1500.0).astype(np.float32)).square().expand(50, 40)
    moved = [CENTRES[int(distort(peak, CENTRES, options, rng(seed))[0].argmax())] for seed in range(40)]
    assert 1290 < min(moved) < 1420 and 1580 < max(moved) < 1740


def test_noise_only_adds() -> None:
    louder = distort(ROWS, CENTRES, AugmentOptions(**{**OFF, "noise": 1.0}), rng())
    assert (louder >= ROWS - 1e-4).all() and (louder > ROWS + 0.1).any()


def test_masks_erase_no_more_than_they_may() -> None:
    options = AugmentOptions(**{**OFF, "time_masks": 3, "time_mask": 8, "longest_mask": 1.0})
    erased = [int((erase(ROWS, options, rng(seed)) == 0).all(1).sum()) for seed in range(30)]
    assert 0 < max(erased) <= 24
    options = AugmentOptions(**{**OFF, "band_masks": 2, "band_mask": 5})
    erased = [int((erase(ROWS, options, rng(seed)) == 0).all(0).sum()) for seed in range(30)]
    assert 0 < max(erased) <= 10


@pytest.mark.parametrize("length", [0, 1, 2])
def test_the_shortest_recordings_survive(length: int) -> None:
    options = AugmentOptions(noise=1.0, blur=1.0)
    assert erase(distort(ROWS[:length], CENTRES, options, rng()), options, rng()).shape[1] == 40


@pytest.mark.parametrize("wrong", [{"noise": 1.5}, {"tempo": -0.1}, {"time_masks": -1}])
def test_impossible_options_are_config_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AugmentOptions(**wrong)
