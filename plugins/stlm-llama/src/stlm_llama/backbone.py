"""A transformers causal LM behind the BackboneLM door.

Packed rows rely on one rule: no cache, no attention mask, positions that restart at 0 in every document. transformers
then builds a mask that keeps documents apart; with its default cache, or an all-ones mask, they leak silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import peft
import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from stlm.errors import ConfigError
from stlm.interfaces.backbone import AdaptableBackbone, BackboneCache, Hidden, LoraOptions
from stlm.interfaces.batch import PackedBatch
from stlm_llama import attention
from stlm_llama.lora import add_adapter, dequantized
from stlm_llama.quantized import quantized_layers

transformers_logging.disable_progress_bar()  # loading a shard of weights is not what a person waits for here


class HuggingFaceCache(BackboneCache):
    """A `DynamicCache` and the mask of what it holds, ``bool[B, L]``."""

    def __init__(self) -> None:
        self.states = DynamicCache()
        self.mask: torch.Tensor | None = None

    def grow(self, valid: torch.Tensor) -> torch.Tensor:
        """Append the validity ``bool[B, S]`` of new positions and return that of all."""
        self.mask = valid if self.mask is None else torch.cat([self.mask, valid], dim=1)
        return self.mask

    def select(self, rows: torch.Tensor) -> None:
        self.states.batch_select_indices(rows)
        if self.mask is not None:
            self.mask = self.mask[rows]

    @property
    def length(self) -> int:
        return 0 if self.mask is None else self.mask.shape[1]


class HuggingFaceBackbone(AdaptableBackbone):
    """Wraps any `transformers` causal LM.

    Args:
        model: the model; its base model and its output embedding are used, never its own loss.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        if model._supports_attention_backend:
            model.set_attn_implementation(attention.NAME)
        self.adapter: peft.PeftModel | None = None

    def forward(self, batch: PackedBatch, cache: BackboneCache | None = None, layers: Sequence[int] = ()) -> Hidden:
        options: dict[str, object] = {"use_cache": False}
        if cache is None and self.model.config._attn_implementation == attention.NAME:
            options |= attention.by_documents(batch.document_bounds())
        if cache is not None:
            if not isinstance(cache, HuggingFaceCache):
                raise ConfigError(f"this backbone needs the cache of its own new_cache(), got {type(cache).__name__}")
            mask = cache.grow(batch.segments > 0)
            options = {"use_cache": True, "past_key_values": cache.states, "attention_mask": mask.long()}
        output = self.model.base_model(
            input_ids=batch.ids, position_ids=batch.positions, output_hidden_states=bool(layers), **options
        )
        states = output.hidden_states or ()
        return Hidden(last=output.last_hidden_state, layers={layer: states[layer] for layer in layers})

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.get_output_embeddings()(hidden)

    def extend(self, vocab_size: int, generator: torch.Generator) -> None:
        old = self.model.get_input_embeddings().weight.shape[0]
        if vocab_size < old:
            raise ConfigError(f"the backbone has {old} rows, cannot shrink to {vocab_size}")
        if vocab_size == old:
            return
        self.model.resize_token_embeddings(vocab_size, mean_resizing=False)
        std = getattr(self.model.config, "initializer_range", 0.02)
        tables = {self.model.get_input_embeddings().weight, self.model.get_output_embeddings().weight}
        with torch.no_grad():
            for table in sorted(tables, key=lambda table: table is not self.model.get_input_embeddings().weight):
                new = torch.empty(vocab_size - old, table.shape[1]).normal_(0.0, std, generator=generator)
                table[old:] = new.to(table)

    def new_cache(self) -> HuggingFaceCache:
        return HuggingFaceCache()

    def save(self, directory: Path) -> None:
        self.merge_lora()
        if quantized_layers(self.model):
            self.model = self.model.dequantize()
        self.model.save_pretrained(directory)

    def head_parameters(self) -> list[nn.Parameter]:
        holders = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
        found = dict.fromkeys(parameter for holder in holders for parameter in holder.parameters())
        return [parameter for parameter in found if parameter.ndim == 2]  # rows beside adapters too, a head's bias not

    def layers(self) -> list[nn.Module]:
        blocks = set(self.model._no_split_modules or ())  # the names of its kinds of block
        return [module for module in self.model.modules() if type(module).__name__ in blocks]

    @property
    def has_adapter(self) -> bool:
        return self.adapter is not None

    def add_lora(self, options: LoraOptions) -> None:
        self.adapter = add_adapter(self.model, options)

    def save_lora(self, directory: Path) -> None:
        if self.adapter is None:
            raise ConfigError("there is no adapter to save: call add_lora first")
        self.adapter.save_pretrained(directory, safe_serialization=True, save_embedding_layers=False)

    def merge_lora(self) -> None:
        if self.adapter is not None:
            adapter = dequantized(self.adapter) if quantized_layers(self.model) else self.adapter
            self.model = adapter.merge_and_unload()
            self.adapter = None
