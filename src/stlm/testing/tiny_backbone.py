"""A complete language model in pure torch, small enough to read: 2 layers of attention over 16 dimensions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stlm.errors import ConfigError
from stlm.interfaces import BackboneCache, BackboneLM, Hidden, PackedBatch

IGNORE = -100


class TinyCache(BackboneCache):
    """Keys and values of each layer, ``float[B, H, L, D]``, and the segment of each position, ``int64[B, L]``."""

    def __init__(self) -> None:
        self.states: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.segments: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> None:
        self.states = {layer: (keys[rows], values[rows]) for layer, (keys, values) in self.states.items()}
        if self.segments is not None:
            self.segments = self.segments[rows]

    @property
    def length(self) -> int:
        return 0 if self.segments is None else self.segments.shape[1]

    def add_segments(self, segments: torch.Tensor) -> torch.Tensor:
        self.segments = segments if self.segments is None else torch.cat([self.segments, segments], dim=1)
        return self.segments

    def add_states(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if layer in self.states:
            old_keys, old_values = self.states[layer]
            keys, values = torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)
        self.states[layer] = (keys, values)
        return keys, values


@dataclass(frozen=True, kw_only=True)
class Config:
    """Size of a `TinyBackbone`; with `path` a saved one is loaded instead."""

    vocab_size: int = 0
    width: int = 16
    num_layers: int = 2
    num_heads: int = 2
    seed: int = 0
    path: str = ""


def build(config: Config) -> TinyBackbone:
    if config.path:
        return TinyBackbone.load(Path(config.path))
    if config.vocab_size <= 0:
        raise ConfigError(f"vocab_size must be positive, got {config.vocab_size}")
    return TinyBackbone(
        config.vocab_size,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        seed=config.seed,
    )


class TinyBackbone(BackboneLM):
    """A causal LM that honours segments, positions and cache.

    Args:
        vocab_size: ids.
        width, num_layers, num_heads: geometry.
        seed: decides the weights; the global generator is not touched.
    """

    def __init__(
        self, vocab_size: int, *, width: int = 16, num_layers: int = 2, num_heads: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        self.options = {"width": width, "num_layers": num_layers, "num_heads": num_heads, "seed": seed}
        self.embedding = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(TinyBlock(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.3, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, batch: PackedBatch, cache: BackboneCache | None = None, layers: Sequence[int] = ()) -> Hidden:
        if cache is not None and not isinstance(cache, TinyCache):
            raise ConfigError(f"this backbone needs the cache of its own new_cache(), got {type(cache).__name__}")
        segments = batch.segments if cache is None else cache.add_segments(batch.segments)
        mask = visible(batch.segments, segments)
        states = self.embedding(batch.ids) + sinusoids(batch.positions, self.embedding.embedding_dim)
        kept = {0: states}
        for index, block in enumerate(self.blocks):
            states = block(states, mask, cache, index)
            kept[index + 1] = states
        for layer in layers:
            if layer not in kept:
                raise ConfigError(f"this backbone has layers 0 to {len(self.blocks)}, got {layer}")
        return Hidden(last=self.norm(states), layers={layer: kept[layer] for layer in layers})

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.head(hidden)

    def extend(self, vocab_size: int, generator: torch.Generator) -> None:
        old = self.embedding.num_embeddings
        if vocab_size < old:
            raise ConfigError(f"the backbone has {old} rows, cannot shrink to {vocab_size}")
        for table in (self.embedding, self.head):
            new = torch.empty(vocab_size - old, table.weight.shape[1]).normal_(0.0, 0.3, generator=generator)
            table.weight = nn.Parameter(torch.cat([table.weight.detach(), new.to(table.weight)]))
        self.embedding.num_embeddings = self.head.out_features = vocab_size

    def new_cache(self) -> TinyCache:
        return TinyCache()

    def save(self, directory: Path) -> None:
        config = {"vocab_size": self.embedding.num_embeddings, **self.options}
        (directory / "config.json").write_text(json.dumps(config))
        save_file(self.state_dict(), directory / "model.safetensors")

    @classmethod
    def load(cls, directory: Path) -> TinyBackbone:
        model = cls(**json.loads((directory / "config.json").read_text()))
        model.load_state_dict(load_file(directory / "model.safetensors"))
        return model

    def head_parameters(self) -> list[nn.Parameter]:
        return [self.embedding.weight, self.head.weight]

    def layers(self) -> list[nn.Module]:
        return list(self.blocks)


class TinyBlock(nn.Module):
    """Attention and a small MLP, both residual."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, states: torch.Tensor, mask: torch.Tensor, cache: TinyCache | None, layer: int) -> torch.Tensor:
        B, S, D = states.shape
        parts = self.project(self.norm(states)).view(B, S, 3, self.num_heads, D // self.num_heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            keys, values = cache.add_states(layer, keys, values)
        scores = queries @ keys.transpose(-1, -2) / (D // self.num_heads) ** 0.5
        weights = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        states = states + self.out((weights @ values).transpose(1, 2).reshape(B, S, D))
        return states + self.mlp(states)


def visible(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """``bool[B, S, L]``: what each new position attends to; padding sees itself alone, so that no row is empty."""
    S, L = queries.shape[1], keys.shape[1]
    places = torch.arange(L - S, L, device=keys.device)
    past = torch.arange(L, device=keys.device)[None] <= places[:, None]
    same = (queries[:, :, None] == keys[:, None]) & (queries[:, :, None] > 0)
    itself = torch.arange(L, device=keys.device)[None] == places[:, None]
    return (same & past) | itself


def sinusoids(positions: torch.Tensor, width: int) -> torch.Tensor:
    """``float32[B, S, D]``."""
    rates = 100.0 ** (-torch.arange(0, width, 2, device=positions.device) / width)
    angles = positions[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def batch_of(rows: Sequence[Sequence[int]], *, pad_left: bool = False) -> PackedBatch:
    """One document per row, padded on the right, or on the left as generation does."""
    length = max((len(row) for row in rows), default=0)
    gaps = [length - len(row) if pad_left else 0 for row in rows]
    return _batch([[(gap, row)] for gap, row in zip(gaps, rows, strict=True)], length)


def packed_batch_of(rows: Sequence[Sequence[Sequence[int]]]) -> PackedBatch:
    """Several documents per row, side by side; the end of short rows is padding."""
    placed: list[list[tuple[int, Sequence[int]]]] = []
    for documents in rows:
        starts = [sum(map(len, documents[:index])) for index in range(len(documents))]
        placed.append(list(zip(starts, documents, strict=True)))
    return _batch(placed, max(sum(map(len, documents)) for documents in rows))


def _batch(rows: Sequence[Sequence[tuple[int, Sequence[int]]]], length: int) -> PackedBatch:
    """Documents at their places; labels are the following ids of the same document."""
    ids, positions, segments = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(3))
    labels = torch.full_like(ids, IGNORE)
    for row, documents in enumerate(rows):
        for number, (start, document) in enumerate(documents, 1):
            end = start + len(document)
            ids[row, start:end] = torch.tensor(list(document), dtype=torch.int64)
            labels[row, start : max(start, end - 1)] = ids[row, start + 1 : end]
            positions[row, start:end] = torch.arange(len(document))
            segments[row, start:end] = number
    return PackedBatch(ids=ids, positions=positions, segments=segments, labels=labels)


def vocabulary_size(backbone: BackboneLM) -> int:
    """Rows of a backbone's head, whatever its kind."""
    with torch.no_grad():
        hidden = backbone(batch_of([[0]]).to(next(backbone.parameters()).device)).last
        return cast(int, backbone.logits(hidden).shape[-1])
