"""Log-mel spectra: right values, exact lengths, and no trace of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from stlm.errors import ConfigError
from stlm.learn.mel import LogMel, MelOptions, cepstra, cosine_basis, mel_bands

LENGTHS = [0, 1, 10, 159, 160, 161, 399, 16000, 50001, 160 * 256, 160 * 256 + 1]


def sounds() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in LENGTHS]


def test_number_of_frames_is_samples_over_hop() -> None:
    assert [len(frames) for frames in LogMel(MelOptions()).split(sounds())] == [length // 160 for length in LENGTHS]


@pytest.mark.parametrize("options", [MelOptions(), MelOptions(window=640, n_fft=1024, num_mels=80, preemphasis=0.0)])
def test_a_batch_gives_what_singles_give_to_the_last_bit(options: MelOptions) -> None:
    log_mel = LogMel(options)
    for alone, together in zip(sounds(), log_mel.split(sounds()), strict=True):
        assert torch.equal(log_mel.split([alone])[0], together)


def test_a_loud_neighbour_leaves_no_trace_in_silence() -> None:
    log_mel = LogMel(MelOptions())
    silence, loud = np.zeros(3200, np.float32), np.ones(3217, np.float32)
    frames = log_mel.split([loud, silence, loud])[1]
    assert torch.equal(frames, frames[:1].expand_as(frames))


def test_values_agree_with_torchaudio() -> None:
    options = MelOptions(preemphasis=0.0)
    samples = sounds()[7]
    theirs = torchaudio.transforms.MelSpectrogram(
        16000, n_fft=512, win_length=400, hop_length=160, f_min=60.0, f_max=7600.0, n_mels=40, center=False
    )
    # our frame 2 has its centre at sample 2.5 * 160 = 400, torchaudio's frame 0 at 256
    expected = theirs(torch.from_numpy(samples[400 - 256 :])).clamp_min(1e-10).log().T
    got = LogMel(options).split([samples])[0][2 : 2 + len(expected)]
    torch.testing.assert_close(got, expected[: len(got)], atol=2e-3, rtol=1e-3)


def test_a_tone_lights_up_its_own_band() -> None:
    options = MelOptions(preemphasis=0.0)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    band = int(LogMel(options).split([tone])[0][50].argmax())
    peak = int(mel_bands(options)[:, band].argmax()) * 16000 / 512
    assert abs(peak - 1000) < 100


def test_cepstra_are_an_orthonormal_view() -> None:
    basis = cosine_basis(40, 40)
    torch.testing.assert_close(basis.T @ basis, torch.eye(40), atol=1e-5, rtol=0)
    frames = torch.randn(300, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cepstra(frames, 40) @ basis.T, frames, atol=1e-4, rtol=1e-4)
    assert cepstra(frames, 13).shape == (300, 13)


@pytest.mark.parametrize("bad", [{"hop": 0}, {"window": 600}, {"hop": 161}, {"f_max": 9000.0}])
def test_impossible_options_are_config_errors(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        MelOptions(**bad)  # pyright: ignore[reportArgumentType]
