"""The language model behind a door that other libraries' models fit through."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from stlm.errors import ConfigError
from stlm.interfaces.batch import PackedBatch


class BackboneCache(ABC):
    """Keys and values of past positions, one row per sequence."""

    @abstractmethod
    def select(self, rows: torch.Tensor) -> None:
        """Keep ``rows: int64[R]`` in this order, in place; a row may be repeated."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Positions held, padding included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """Hidden states: ``last[B, S, D]`` after the final norm, and those layers that were asked for.

    Layer 0 is the embedding, layer l the output of the l-th block.
    """

    last: torch.Tensor
    layers: Mapping[int, torch.Tensor] = field(default_factory=dict[int, torch.Tensor])


class BackboneLM(nn.Module, ABC):
    """A causal language model over one id space.

    **Contract.** Documents of a packed row do not see each other: hidden states equal those of separate documents
    within float noise. With a cache, feeding ids in pieces gives what feeding them at once gives; ids with segment 0
    are padding and are seen by none. ``forward`` never computes logits, so that losses can run in chunks.

    **Implement** ``forward``, ``logits``, ``extend``, ``new_cache`` and ``save``.

    **For free**: pretraining, exact resume, scoring, generation, contract tests
    (`stlm.testing.contracts.BackboneContract`).

    **Example**

    >>> import torch
    >>> from stlm.testing.fakes import TinyBackbone, batch_of
    >>> model = TinyBackbone(vocab_size=10)
    >>> model.logits(model(batch_of([[1, 2, 3]])).last).shape
    torch.Size([1, 3, 10])
    """

    @abstractmethod
    def forward(self, batch: PackedBatch, cache: BackboneCache | None = None, layers: Sequence[int] = ()) -> Hidden:
        """Hidden states of the batch; with a cache its ids continue the cached positions."""

    @abstractmethod
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """``float[..., V]`` from ``hidden[..., D]``."""

    @abstractmethod
    def extend(self, vocab_size: int, generator: torch.Generator) -> None:
        """Grow embedding and head to `vocab_size` rows; new rows are random, old rows stay as they are."""

    @abstractmethod
    def new_cache(self) -> BackboneCache:
        """An empty cache."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write configuration and weights (safetensors) into an existing, empty directory."""

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters of embedding and head, for optimizers that treat them apart. Empty if there is no such split."""
        return []

    def layers(self) -> list[nn.Module]:
        """Blocks in the order in which a forward pass calls them, for training that shards, recomputes or compiles them
        one by one. Empty if there is no such split."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraOptions:
    """Low-rank adaptation.

    Args:
        rank, alpha, dropout: as in Hu et al. 2021.
        modules: names of the linear layers to adapt; empty for all but the head.
        trained_rows: ids whose embedding (and head) rows are trained beside the adapters; other rows stay frozen.
        seed: decides where the adapters begin; all ranks must begin alike.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    modules: tuple[str, ...] = ()
    trained_rows: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"lora: expected rank >= 1, alpha >= 1 and 0 <= dropout < 1, got {self.rank}, {self.alpha} and "
                f"{self.dropout}"
            )


class AdaptableBackbone(BackboneLM):
    """A backbone that takes LoRA adapters.

    **Contract.** After ``add_lora`` only adapter weights and the named rows require gradients, and hidden states are
    unchanged until training moves them; ``merge_lora`` changes nothing beyond float noise, or the rounding of weights
    that are quantized; ``save`` writes the merged model.

    **Implement** ``has_adapter``, ``add_lora``, ``save_lora`` and ``merge_lora`` beside the methods of `BackboneLM`.

    **For free**: `stlm train` with ``lora``, contract tests (`stlm.testing.contracts.AdaptableBackboneContract`).

    **Example** (a model with LoRA comes with stlm-llama)

    >>> from stlm.interfaces import AdaptableBackbone
    >>> from stlm.testing.fakes import TinyBackbone
    >>> isinstance(TinyBackbone(vocab_size=10), AdaptableBackbone)
    False
    """

    @property
    @abstractmethod
    def has_adapter(self) -> bool:
        """Whether there is an adapter that was not merged yet."""

    @abstractmethod
    def add_lora(self, options: LoraOptions) -> None:
        """Freeze the model and add adapters."""

    @abstractmethod
    def save_lora(self, directory: Path) -> None:
        """Write the adapter alone (safetensors) into an existing directory."""

    @abstractmethod
    def merge_lora(self) -> None:
        """Fold the adapter into the weights; nothing happens if there is none."""
