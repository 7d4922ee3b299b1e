"""Frames, targets and batches of masked prediction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stlm.errors import ConfigError, DataError
from stlm.learn.sounds import Recordings
from stlm.types import Audio, Utterance
from stlm_hubert.filterbank import gabor_filters, start_as_filterbank
from stlm_hubert.frames import CepstralFrames, slopes
from stlm_hubert.rows import Distortion, Rows, draw_mask
from stlm_hubert.targets import cluster_targets

HOP = 640


def tones(*hertz: float, speaker: str | None = None) -> Recordings:
    """One recording per frequency, half a second each."""
    time = np.arange(8000) / 16000
    waves = [(0.1 * np.sin(2 * np.pi * value * time)).astype(np.float32) for value in hertz]
    return Recordings(
        [
            Utterance(id=str(index), audio=Audio(samples=wave, sample_rate=16000), speaker=speaker)
            for index, wave in enumerate(waves)
        ],
        16000,
    )


def rows_of(recordings: Recordings, targets: list[np.ndarray], **more) -> Rows:
    options = {"num_rows": 3, "num_frames": 20, "normalize": False, "mask_share": 0.1, "mask_span": 4}
    return Rows(recordings, targets, hop=HOP, window=720, **{**options, "distortion": Distortion(), **more})


def test_cepstral_frames_are_as_many_as_hops_and_have_39_dimensions():
    (rows, none) = CepstralFrames(HOP)([tones(300)[0], np.zeros(100, np.float32)])
    assert rows.shape == (8000 // HOP, 39)
    assert none.shape == (0, 39)


def test_normalized_cepstra_do_not_hear_the_level():
    wave = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    quiet, loud = CepstralFrames(HOP, normalize=True)([wave, 4 * wave])
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=0)


def test_slopes_of_a_line_are_its_slope():
    line = 3.0 * torch.arange(9)[:, None]
    torch.testing.assert_close(slopes(line)[2:-2], torch.full((5, 1), 3.0))


def test_a_hop_that_cepstra_cannot_follow_is_refused():
    with pytest.raises(ConfigError, match="hop of 500 samples"):
        CepstralFrames(500)


def test_targets_tell_sounds_apart_and_are_the_same_each_time():
    recordings = tones(200, 900, 3000, 200)
    make = [
        cluster_targets(recordings, CepstralFrames(HOP), 3, sample_size=1000, seed=0, what="test") for _ in range(2)
    ]
    (codes, usage), (again, _) = make
    assert [len(found) for found in codes] == [12] * 4
    assert usage.share == 1
    middles = [int(found[6]) for found in codes]
    assert len(set(middles[:3])) == 3 and middles[3] == middles[0]
    for one, other in zip(codes, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_too_few_frames_for_the_clusters_are_an_error():
    with pytest.raises(DataError, match="12 frames for 50 clusters"):
        cluster_targets(tones(200), CepstralFrames(HOP), 50, sample_size=1000, seed=0, what="test")


def test_targets_stay_at_their_samples():
    # each hop of the ramp says its own number, by its level
    ramp = np.repeat(np.arange(1, 41, dtype=np.float32) / 100, HOP)
    recordings = Recordings([Utterance(id="a", audio=Audio(samples=ramp, sample_rate=16000))], 16000)
    waves, targets, _ = rows_of(recordings, [np.arange(40, dtype=np.uint16)]).draw(np.random.default_rng(3))
    heard = waves[:, HOP // 2 :: HOP][:, : targets.shape[1]] * 100 - 1
    np.testing.assert_array_equal(heard.round().long().numpy(), targets.numpy())


def test_targets_follow_a_change_of_speed():
    ramp = np.repeat(np.arange(1, 101, dtype=np.float32) / 200, HOP)
    recordings = Recordings([Utterance(id="a", audio=Audio(samples=ramp, sample_rate=16000))], 16000)
    distortion = Distortion(share=1.0, speed=20.0, gain_db=0.0, noise=0.0)
    rows = rows_of(recordings, [np.arange(100, dtype=np.uint16)], distortion=distortion, num_frames=60)
    waves, targets, _ = rows.draw(np.random.default_rng(3))
    heard = waves[:, HOP // 2 :: HOP][:, :60] * 200 - 1
    assert (heard - targets).abs().max() < 1.2
    assert len({int(row[30] - row[0]) for row in targets}) > 1


def test_a_batch_follows_from_its_generator_alone():
    rows = rows_of(tones(200, 400), [np.zeros(12, np.uint16)] * 2, distortion=Distortion(share=0.5))
    first, again, other = (rows.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    waves, targets, masks = first
    assert waves.dtype == torch.float32 and targets.shape == masks.shape == (3, 20)
    assert waves.shape[1] >= 19 * HOP + 720


def test_masks_are_spans_and_there_is_always_one():
    rng = np.random.default_rng(0)
    masks = np.stack([draw_mask(100, 0.08, 10, rng) for _ in range(200)])
    assert masks.any(1).all()
    assert 0.4 < masks.mean() < 0.6  # 8 starts of 10 frames, with overlaps
    edges = np.diff(masks.astype(int), axis=1, prepend=0, append=0)
    for row in edges:
        assert (np.flatnonzero(row == -1) - np.flatnonzero(row == 1)).min() >= 10
    assert draw_mask(3, 0.01, 10, rng).all()


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"speed": 100.0}, {"gain_db": -1.0}])
def test_impossible_distortions_are_refused(wrong):
    with pytest.raises(ConfigError, match="distortion is"):
        Distortion(**wrong)


def test_filters_are_band_passes_from_low_to_high():
    filters = gabor_filters(20, 320)
    peaks = np.abs(np.fft.rfft(filters.numpy(), 4096)).argmax(1)
    assert (np.diff(peaks[:20]) > 0).all() and (np.diff(peaks[20:]) > 0).all()
    torch.testing.assert_close(filters.norm(dim=1), torch.ones(40))


def test_short_kernels_take_no_filterbank():
    with pytest.raises(ConfigError, match="kernel of 10"):
        start_as_filterbank(nn.Conv1d(1, 32, 10))
