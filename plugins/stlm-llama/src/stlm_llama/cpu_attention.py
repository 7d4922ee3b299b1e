"""Causal attention of many short documents on a CPU.

PyTorch's own kernel for processors computes the whole square of a short causal product, and its backward pass in bf16
takes twice the time of plain matrix products. Here queries go in blocks, each with the keys up to its end: a document
of 512 ids computes three quarters of its square, and every product is a matrix product. Numbers are those of textbook
attention: scores in the precision of the inputs, the softmax in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch

BLOCK = 256
"""Queries of a block. Steps with blocks of 128 and of 256 differed by less than a tenth (bf16, two threads)."""


class Block(NamedTuple):
    """Queries ``start:end`` that see the keys ``first:end`` at most; positions among all ids."""

    start: int
    end: int
    first: int


def blocks_of(sizes: Sequence[int], window: int | None) -> Iterator[Block]:
    """Blocks of queries of documents of these sizes."""
    begin = 0
    for size in sizes:
        for start in range(begin, begin + size, BLOCK):
            first = begin if window is None else max(begin, start - window + 1)
            yield Block(start, min(start + BLOCK, begin + size), first)
        begin += size


class CausalAttention(torch.autograd.Function):
    """``out[H, T, D]`` of ``query, key, value: [H, T, D]``, the ids of documents of `sizes` side by side."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        sizes: Sequence[int],
        scale: float,
        window: int | None,
    ) -> torch.Tensor:
        out = torch.empty_like(value)
        weights: list[torch.Tensor] = []
        ctx.blocks = list(blocks_of(sizes, window))
        for block in ctx.blocks:
            keys = key[:, block.first : block.end]
            hidden = _hidden(block.end - block.start, block.end - block.first, window, query.dtype)
            scores = torch.baddbmm(hidden, query[:, block.start : block.end], keys.transpose(1, 2), alpha=scale)
            weights.append(scores.softmax(-1))
            out[:, block.start : block.end] = weights[-1] @ value[:, block.first : block.end]
        ctx.scale = scale
        ctx.save_for_backward(query, key, value, *weights)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *weights = ctx.saved_tensors
        gradient = gradients[0]
        to_query = torch.empty_like(query)
        to_key, to_value = torch.zeros_like(key), torch.zeros_like(value)
        for block, weight in zip(ctx.blocks, weights, strict=True):
            asks, seen = slice(block.start, block.end), slice(block.first, block.end)
            to_value[:, seen].baddbmm_(weight.transpose(1, 2), gradient[:, asks])
            to_weight = gradient[:, asks] @ value[:, seen].transpose(1, 2)
            to_scores = torch._softmax_backward_data(to_weight, weight, -1, weight.dtype)
            to_query[:, asks] = torch.bmm(to_scores, key[:, seen]).mul_(ctx.scale)
            to_key[:, seen].baddbmm_(to_scores.transpose(1, 2), query[:, asks], alpha=ctx.scale)
        return to_query, to_key, to_value, None, None, None


@lru_cache(maxsize=512)
def _hidden(queries: int, keys: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """``[1, Q, K]``: 0 where a query sees a key, minus infinity elsewhere; the last query is at the last key."""
    asks = torch.arange(keys - queries, keys)[:, None]
    seen = torch.arange(keys)
    unseen = seen > asks if window is None else (seen > asks) | (seen <= asks - window)
    return torch.zeros(unseen.shape, dtype=dtype).masked_fill_(unseen, -torch.inf)[None]
