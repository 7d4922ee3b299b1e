"""Attention document by document: every way of computing it gives what each document alone gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from stlm.interfaces.batch import bounds_of
from stlm_llama import attention, cpu_attention
from stlm_llama.cpu_attention import CausalAttention

SEGMENTS = torch.tensor([[1] * 7 + [2] * 3 + [3] * 20 + [0] * 2, [1] * 1 + [2] * 30 + [0] * 1])


def alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, window: int | None = None
) -> torch.Tensor:
    """``[B, S, H, D]`` by textbook products, one document after the other."""
    length, groups = query.shape[2], query.shape[1] // key.shape[1]
    out = torch.zeros(query.shape[0], length, query.shape[1], value.shape[3], dtype=query.dtype)
    ends = bounds.tolist()
    for start, end in pairwise(ends):
        row, first = divmod(start, length)
        part = slice(first, first + end - start)
        for head in range(query.shape[1]):
            scores = query[row, head, part] @ key[row, head // groups, part].T / query.shape[3] ** 0.5
            back = torch.arange(end - start)[:, None] - torch.arange(end - start)
            scores = scores.masked_fill((back < 0) | (back >= (window or length)), -torch.inf)
            out[row, part, head] = scores.softmax(-1) @ value[row, head // groups, part]
    return out


def tensors(heads: int = 4, key_heads: int = 4, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch, length = SEGMENTS.shape
    shapes = [(batch, count, length, 8) for count in (heads, key_heads, key_heads)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("block", [4, 128])
def test_each_document_attends_as_if_alone(
    monkeypatch: pytest.MonkeyPatch, window: int | None, key_heads: int, block: int
) -> None:
    monkeypatch.setattr(cpu_attention, "BLOCK", block)
    parts, bounds = tensors(key_heads=key_heads), bounds_of(SEGMENTS)
    found, _ = attention.document_attention(torch.nn.Identity(), *parts, bounds=bounds, sliding_window=window)
    torch.testing.assert_close(found, alone(*parts, bounds, window))


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("other", [attention._one_by_one, attention._masked])
def test_the_other_ways_give_the_same(other, window: int | None) -> None:
    """With dropout in training, and in fp32 on a GPU."""
    parts, bounds = tensors(), bounds_of(SEGMENTS)
    options = {"dropout_p": 0.0, "scale": None, "enable_gqa": False}
    found = other(*parts, bounds, window, options).transpose(1, 2)
    torch.testing.assert_close(found, alone(*parts, bounds, window))


@pytest.mark.parametrize("window", [None, 5])
def test_the_variable_length_kernel_gets_all_documents_of_all_rows(
    monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    """The kernel runs on a GPU alone; here is one that keeps its contract."""

    def kernel(query, key, value, starts, ends, longest, longest_key, *, scale, window_size) -> torch.Tensor:
        assert torch.equal(starts, ends) and starts.dtype == torch.int32 and longest == longest_key
        assert query.shape[0] == starts[-1] and window_size[1] == 0
        rows = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
        return alone(*rows, starts, None if window_size[0] < 0 else window_size[0] + 1)[0]

    monkeypatch.setattr(attention.varlen, "varlen_attn", kernel)
    parts, bounds = tensors(key_heads=2), bounds_of(SEGMENTS)
    found = attention._varlen(*parts, bounds, None, window)
    torch.testing.assert_close(found, alone(*parts, bounds, window))


@pytest.mark.parametrize("window", [None, 3])
def test_gradients_are_those_of_the_numbers(monkeypatch: pytest.MonkeyPatch, window: int | None) -> None:
    monkeypatch.setattr(cpu_attention, "BLOCK", 3)
    generator = torch.Generator().manual_seed(1)
    parts = [torch.randn(2, 11, 4, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *parts: CausalAttention.apply(*parts, (7, 1, 3), 0.5, window), parts)


def test_half_precision_is_as_near_as_pytorchs_own() -> None:
    parts, bounds = tensors(dtype=torch.float32), bounds_of(SEGMENTS)
    exact = alone(*parts, bounds)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attention.document_attention(torch.nn.Identity(), *parts, bounds=bounds)
    assert found.dtype == torch.bfloat16
    half = [part.bfloat16() for part in parts]
    mask = (SEGMENTS[:, None, :, None] == SEGMENTS[:, None, None]) & torch.ones(32, 32, dtype=torch.bool).tril()
    usual = functional.scaled_dot_product_attention(*half, attn_mask=mask).transpose(1, 2)
    assert (found - exact).abs().max() < 2 * (usual - exact).abs().max()


def test_dropout_drops_in_training_alone() -> None:
    parts, bounds = tensors(), bounds_of(SEGMENTS)
    module = torch.nn.Identity()
    dropped, _ = attention.document_attention(module.train(), *parts, bounds=bounds, dropout=0.5)
    kept, _ = attention.document_attention(module.eval(), *parts, bounds=bounds, dropout=0.5)
    torch.testing.assert_close(kept, alone(*parts, bounds))
    assert not torch.allclose(dropped, kept)
