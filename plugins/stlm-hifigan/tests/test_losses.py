"""What the generator learns by: spectra and discriminators."""

from __future__ import annotations

import pytest
import torch

from stlm_hifigan.discriminators import (
    DiscriminatorOptions,
    Discriminators,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from stlm_hifigan.spectra import Spectra, SpectraOptions

SMALL = DiscriminatorOptions(
    periods=(2, 5),
    period_channels=(4, 8),
    scales=2,
    scale_channels=(4, 8),
    scale_strides=(2, 4),
    scale_groups=(1, 2),
    scale_kernel=9,
)


@pytest.fixture(scope="module")
def sounds() -> torch.Tensor:
    return torch.randn(2, 2003, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.fixture(scope="module")
def spectra() -> Spectra:
    return Spectra(
        SpectraOptions(sample_rate=16000, mel_window=1024, mel_hop=256, num_mels=80, stft_windows=(256, 512))
    )


def test_a_sound_is_no_distance_from_itself_and_a_louder_one_is_its_gain(
    spectra: Spectra, sounds: torch.Tensor
) -> None:
    for distance in (spectra.mel_distance, spectra.stft_distance):
        assert float(distance(sounds, sounds)) == 0
        assert float(distance(sounds * 2, sounds)) == pytest.approx(0.693, abs=0.01)


def test_a_tone_is_heard_in_its_band(spectra: Spectra) -> None:
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(4096) / 16000)
    mel = spectra.log_mel(tone[None])
    assert mel.shape == (1, 4096 // 256 + 1, 80)
    centres = 700 * (10 ** (torch.linspace(0, 2840.02, 82)[1:-1] / 2595) - 1)
    assert abs(float(centres[mel.mean(1)[0].argmax()]) - 1000) < 40


def test_silence_has_finite_distances_and_gradients(spectra: Spectra) -> None:
    silent = torch.zeros(1, 2048, requires_grad=True)
    (
        spectra.mel_distance(silent, torch.zeros(1, 2048)) + spectra.stft_distance(silent, torch.zeros(1, 2048))
    ).backward()
    assert silent.grad is not None and torch.isfinite(silent.grad).all()


def test_distances_are_of_float32_under_autocast(spectra: Spectra, sounds: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        inside = spectra.mel_distance(sounds * 1.1, sounds)
    torch.testing.assert_close(inside, spectra.mel_distance(sounds * 1.1, sounds))


def test_a_period_discriminator_looks_down_its_columns(sounds: torch.Tensor) -> None:
    """What happens to other columns changes no score of a column."""
    judge = Discriminators(SMALL).periods[1]
    changed = sounds.clone()
    changed[:, 3::5] += 1
    one, two = (judge(given)[0].view(2, 5, -1) for given in (sounds, changed))
    moved = (one != two).flatten(2).any(2)
    assert moved.tolist() == [[False, False, False, True, False]] * 2


def test_there_is_one_verdict_for_each_period_and_scale(sounds: torch.Tensor) -> None:
    verdicts = Discriminators(SMALL)(sounds)
    assert len(verdicts) == 4
    assert [len(features) for _, features in verdicts] == [2, 2, 3, 3]
    assert verdicts[3][0].shape[-1] == pytest.approx(verdicts[2][0].shape[-1] / 2, abs=1)


def test_losses_by_hand() -> None:
    natural = [(torch.full((1, 1, 1, 4), 0.75), [torch.ones(3)]), (torch.ones(2), [torch.zeros(2)])]
    made = [(torch.full((1, 1, 1, 4), 0.5), [torch.zeros(3)]), (torch.zeros(2), [torch.full((2,), 0.5)])]
    assert float(discriminator_loss(natural, made)) == pytest.approx(0.0625 + 0.25)
    assert float(generator_loss(made)) == pytest.approx(0.25 + 1)
    assert float(feature_loss(natural, made)) == pytest.approx(1 + 0.5)


def test_discriminators_learn_to_tell_two_kinds_of_sound_apart(sounds: torch.Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judges = Discriminators(SMALL)
    optimizer = torch.optim.AdamW(judges.parameters(), lr=5e-3)
    smooth = torch.cumsum(sounds, 1) * 0.1
    losses = []
    for _ in range(40):
        loss = discriminator_loss(judges(sounds), judges(smooth))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
