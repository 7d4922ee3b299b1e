"""The fast decoder gives what the textbook module gives, however the frames are cut."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stlm_hifigan.decoding import Decoder, phases
from stlm_hifigan.generator import Generator, GeneratorOptions

from .conftest import BASE, HOP, random_generator

FRAMES = 61


@pytest.fixture(scope="module")
def generator() -> Generator:
    return random_generator(BASE)


@pytest.fixture(scope="module")
def joined() -> torch.Tensor:
    return torch.randn(18, FRAMES, generator=torch.Generator().manual_seed(1))


def decode(decoder: Decoder, joined: torch.Tensor, step: int) -> torch.Tensor:
    total = joined.shape[1]
    cuts = [(first, min(total, first + step)) for first in range(0, total, step)]
    return torch.cat([decoder.decode(lambda a, b: joined[:, a:b], *cut, total) for cut in cuts])


@pytest.mark.parametrize("step", [1, 2, 7, 30, FRAMES])
@pytest.mark.parametrize("block_values", [500, 3000, 1 << 30])
def test_every_cut_gives_the_whole(generator: Generator, joined: torch.Tensor, step: int, block_values: int) -> None:
    whole = generator(joined[None])[0]
    assert whole.abs().mean() > 0.05, "weights too small to show a difference"
    parts = decode(Decoder(generator, block_values=block_values), joined, step)
    assert parts.shape == whole.shape == (FRAMES * HOP,)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)


def test_the_official_geometry_in_pieces_gives_the_whole() -> None:
    options = GeneratorOptions(
        tables={"dict": (10, 4)},
        upsample_rates=(5, 4, 4, 4, 2),
        upsample_kernels=(11, 8, 8, 8, 4),
        initial_channels=32,
        resblock_kernels=(3, 7, 11),
        resblock_dilations=((1, 3, 5),) * 3,
    )
    generator = Generator(options).requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    for value in generator.parameters():
        value.copy_(torch.randn(value.shape, generator=random) * (1.2 / max(1, value[0].numel()) ** 0.5))
    joined = torch.randn(4, 50, generator=random)
    whole = generator(joined[None])[0]
    torch.testing.assert_close(decode(Decoder(generator), joined, 17), whole, atol=1e-6, rtol=0)


def test_a_chunk_reads_all_frames_that_it_depends_on_and_hardly_more(joined: torch.Tensor) -> None:
    """The gradient of a stretch of samples tells which frames it depends on."""
    generator = random_generator(BASE).double()
    leaf = joined.double().clone().requires_grad_(True)
    part = generator(leaf[None])[0, 28 * HOP : 30 * HOP]
    (gradient,) = torch.autograd.grad((part * torch.arange(1, len(part) + 1)).sum(), leaf)
    matters = gradient.abs().sum(0).nonzero()[:, 0].tolist()
    asked: list[tuple[int, int]] = []

    def lookup(first: int, last: int) -> torch.Tensor:
        asked.append((first, last))
        return joined[:, first:last]

    Decoder(random_generator(BASE)).decode(lookup, 28, 30, FRAMES)
    ((first, last),) = asked
    assert 0 < first <= matters[0] <= first + 3
    assert last - 4 <= matters[-1] < last < FRAMES


@pytest.mark.parametrize(("rate", "kernel"), [(5, 11), (4, 8), (2, 4), (3, 3), (4, 10), (2, 12), (1, 3)])
def test_a_transposed_convolution_is_a_plain_one_with_more_channels(rate: int, kernel: int) -> None:
    random = torch.Generator().manual_seed(rate)
    weight = torch.randn(6, 3, kernel, generator=random)
    hidden = torch.randn(1, 6, 9, generator=random)
    padding = (kernel - rate) // 2
    want = F.conv_transpose1d(hidden, weight, stride=rate, padding=padding)
    plain = phases(weight, rate, padding)
    got = (
        F.conv1d(hidden, plain, padding=plain.shape[-1] // 2).view(1, rate, 3, 9).permute(0, 2, 3, 1).reshape(1, 3, -1)
    )
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


def test_bf16_is_close(generator: Generator, joined: torch.Tensor) -> None:
    whole = generator(joined[None])[0]
    got = decode(Decoder(generator, dtype=torch.bfloat16), joined, 20)
    assert got.dtype == torch.float32
    error = (got - whole).square().mean() / whole.square().mean()
    assert 1e-7 < error < 1e-2, "bf16 has an error, of about -30 dB"


def test_decoding_keeps_no_graph(joined: torch.Tensor) -> None:
    trainable = random_generator(BASE).requires_grad_(True)
    assert not Decoder(trainable).decode(lambda a, b: joined[:, a:b], 0, 3, FRAMES).requires_grad
    assert trainable(joined[None]).requires_grad
