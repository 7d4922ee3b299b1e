"""Attention of packed rows, document by document: no mask over a row is ever made.

In: queries, keys and values of a row and the bounds of its documents. Out: for every position what it sees of its own
document. On a CPU each document is one causal product of its own: a row of 512 ids in four documents costs a quarter of
the scores that a masked row costs; a stretch of padding is one more document. On a GPU in half precision all documents
go through one variable-length kernel; in fp32 there, where no such kernel exists, through a mask of blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.nn.attention import varlen
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from stlm_llama.cpu_attention import CausalAttention

NAME = "stlm_documents"
"""Under which transformers finds this attention; where no documents are named it is transformers' own "sdpa"."""


def by_documents(bounds: torch.Tensor) -> dict[str, torch.Tensor]:
    """Arguments of a model's forward pass, by which rows are packed; a mask that is four-dimensional is taken as it is,
    so that transformers makes none."""
    return {"bounds": bounds, "attention_mask": torch.empty(1, 1, 1, 1, device=bounds.device)}


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in each layer: document by document where `bounds` are given."""
    if options.get("bounds") is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return document_attention(module, query, key, value, **options)


def document_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    bounds: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each document.

    Args:
        module: the attention layer (transformers hands it over; unused but for its training flag).
        query: ``[B, H, S, D]``.
        key, value: ``[B, H / G, S, D]``; each head of theirs serves G heads of the queries.
        bounds: ``int32[N + 1]``, see `PackedBatch.bounds`.
        dropout, scaling: as `scaled_dot_product_attention` takes them.
        sliding_window: positions that a position sees, itself included; None for all before it.

    Returns:
        ``[B, S, H, D]``, and None where other implementations return weights.
    """
    dropout = dropout if module.training else 0.0
    dtype = _product_dtype(query)  # rotary positions leave queries and keys in fp32
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if query.is_cuda and dtype.itemsize == 2 and not dropout:
        return _varlen(query, key, value, bounds, scaling, sliding_window), None
    if not query.is_cuda and not dropout:
        return _in_blocks(query, key, value, bounds, scaling, sliding_window), None
    options = {"dropout_p": dropout, "scale": scaling, "enable_gqa": key.shape[1] != query.shape[1]}
    one = _masked if query.is_cuda else _one_by_one
    return one(query, key, value, bounds, sliding_window, options).transpose(1, 2), None


def _in_blocks(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """Each document by itself, in blocks of queries."""
    batch, heads, length, size = query.shape
    flat = (
        tensor.transpose(0, 1).reshape(heads, batch * length, -1)
        for tensor in (query, *_for_each_head(key, value, heads))
    )
    scale = size**-0.5 if scaling is None else scaling
    out = CausalAttention.apply(*flat, bounds.diff().tolist(), scale, window)
    return out.view(heads, batch, length, -1).permute(1, 2, 0, 3)  # pyright: ignore


def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    window: int | None,
    options: dict[str, Any],
) -> torch.Tensor:
    """Each document by itself, cut from one run of all rows' ids: gradients of a cut are laid side by side again."""
    batch, _, length, _ = query.shape
    sizes = bounds.diff().tolist()
    runs = (tensor.transpose(1, 2).flatten(0, 1).split(sizes) for tensor in (query, key, value))
    seen = []
    for parts in zip(*runs, strict=True):
        size = len(parts[0])
        mask = _band(size, window, query.device) if window is not None and size > window else None
        heads_first = (part.transpose(0, 1)[None] for part in parts)
        out = functional.scaled_dot_product_attention(*heads_first, attn_mask=mask, is_causal=mask is None, **options)
        seen.append(out[0].transpose(0, 1))
    return torch.cat(seen).unflatten(0, (batch, length)).transpose(1, 2)


def _masked(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    window: int | None,
    options: dict[str, Any],
) -> torch.Tensor:
    """All documents at once, under a mask ``bool[B, 1, S, S]``."""
    batch, length = query.shape[0], query.shape[2]
    places = torch.arange(batch * length, device=query.device)
    document = torch.searchsorted(bounds.to(places), places, right=True).view(batch, 1, length)
    same = document.transpose(1, 2) == document
    mask = same & _band(length, window or length, query.device)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None], **options)


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor:
    """``bool[S, S]``: each position sees itself and the `window` - 1 before it."""
    places = torch.arange(length, device=device)
    back = places[:, None] - places
    return (back >= 0) & (back < (window or length))


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bounds: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """All documents of all rows as one run of tokens; the longest possible one is a row, whatever the batch holds."""
    batch, heads, length, size = query.shape
    flat = (
        tensor.transpose(1, 2).reshape(batch * length, heads, -1)
        for tensor in (query, *_for_each_head(key, value, heads))
    )
    seen = (-1 if window is None else window - 1, 0)
    out = varlen.varlen_attn(*flat, bounds, bounds, length, length, scale=scaling, window_size=seen)
    assert isinstance(out, torch.Tensor)
    return out.view(batch, length, heads, size)


def _for_each_head(key: torch.Tensor, value: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values with a head for each of the queries'."""
    times = heads // key.shape[1]
    return (key, value) if times == 1 else (key.repeat_interleave(times, dim=1), value.repeat_interleave(times, dim=1))


def _product_dtype(query: torch.Tensor) -> torch.dtype:
    """In which a product of these queries is computed."""
    kind = query.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
