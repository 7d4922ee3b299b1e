"""The network, from its own keys and nothing else; the codebook, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from .conftest import random_vqvae

CONTOUR = torch.randn(1, 2, 101, generator=torch.Generator().manual_seed(4))


def residual(state: dict[str, torch.Tensor], stem: str, hidden: torch.Tensor) -> torch.Tensor:
    for depth in range(2):
        block, dilation = f"{stem}.model.{depth}.model", 3**depth
        inner = F.conv1d(
            F.relu(hidden), state[f"{block}.1.weight"], state[f"{block}.1.bias"], padding=dilation, dilation=dilation
        )
        hidden = hidden + F.conv1d(F.relu(inner), state[f"{block}.3.weight"], state[f"{block}.3.bias"])
    return hidden


def test_the_encoder_by_its_keys() -> None:
    vqvae = random_vqvae()
    state, hidden = vqvae.state_dict(), CONTOUR
    for step in range(4):
        stem = f"encoder.level_blocks.0.model.{step}"
        hidden = F.conv1d(hidden, state[f"{stem}.0.weight"], state[f"{stem}.0.bias"], stride=2, padding=1)
        hidden = residual(state, f"{stem}.1", hidden)
    stem = "encoder.level_blocks.0.model.4"
    hidden = F.conv1d(hidden, state[f"{stem}.weight"], state[f"{stem}.bias"], padding=1)
    torch.testing.assert_close(vqvae.encode(CONTOUR), hidden)
    assert hidden.shape == (1, 6, 101 // 16)


def test_the_decoder_by_its_keys() -> None:
    vqvae = random_vqvae()
    state, codes = vqvae.state_dict(), torch.tensor([[3, 15, 0, 7]])
    hidden = state["vq.level_blocks.0.k"][codes].transpose(1, 2)
    stem = "decoder.level_blocks.0.model.0"
    hidden = F.conv1d(hidden, state[f"{stem}.weight"], state[f"{stem}.bias"], padding=1)
    for step in range(4):
        stem = f"decoder.level_blocks.0.model.{step + 1}"
        hidden = residual(state, f"{stem}.0", hidden)
        hidden = F.conv_transpose1d(hidden, state[f"{stem}.1.weight"], state[f"{stem}.1.bias"], stride=2, padding=1)
    hidden = F.conv1d(hidden, state["decoder.out.weight"], state["decoder.out.bias"], padding=1)
    torch.testing.assert_close(vqvae.decode(codes), hidden)
    assert hidden.shape == (1, 2, 64)


def test_a_code_is_the_nearest_entry() -> None:
    vqvae = random_vqvae()
    latents = torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(1))
    entries = vqvae.vq.level_blocks[0].k.double()
    distance = (latents.double().transpose(1, 2)[:, :, None] - entries).square().sum(-1)
    codes = vqvae.quantize(latents)
    np.testing.assert_array_equal(codes, distance.argmin(-1))
    assert len(codes.unique()) > 5


def test_the_first_of_equal_entries_wins() -> None:
    vqvae = random_vqvae()
    entries = vqvae.vq.level_blocks[0].k
    entries[9] = entries[4]
    assert vqvae.quantize(entries[[9, 4]].T[None]).tolist() == [[4, 4]]


@pytest.mark.parametrize("frames", [16, 31, 32, 47, 160])
def test_sixteen_frames_are_one_unit_and_a_rest_is_dropped(frames: int) -> None:
    assert random_vqvae().encode(torch.zeros(1, 2, frames)).shape[-1] == frames // 16
