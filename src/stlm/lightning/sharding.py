"""How a backbone is laid over devices, layer by layer: FSDP2, activation checkpointing, compilation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils import _pytree
from torch.utils.checkpoint import checkpoint

from stlm.errors import ConfigError
from stlm.interfaces.backbone import BackboneLM, Hidden
from stlm.lightning.pretrain import LanguageModelModule

PRODUCTS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""In what FSDP2 gathers weights and multiplies them, by Lightning's name of the precision."""


def prepare(module: LanguageModelModule, *, precision: str, is_sharded: bool, recompute: bool, compiled: bool) -> None:
    """Recompute, compile and shard the layers of a module's backbone, in this order, in place.

    Args:
        module: its backbone is changed.
        precision: Lightning's name.
        is_sharded: by FSDP2, over the data-parallel part of the strategy's mesh.
        recompute: keep the inputs of each layer alone and compute it again in the backward pass.
        compiled: by ``torch.compile``, each layer by itself (they share one compilation).

    Raises:
        ConfigError: the backbone does not say what its layers are.
    """
    backbone, layers = module.backbone, module.backbone.layers()
    if not layers and (is_sharded or recompute or compiled):
        raise ConfigError(
            f"backbone {type(backbone).__name__} names no layers (BackboneLM.layers), which trainer.strategy=fsdp2, "
            "activation_checkpointing and compile need: leave them out"
        )
    for layer in layers if recompute else ():
        layer.forward = _recomputed(layer.forward)
    for layer in layers if compiled else ():
        layer.compile()
    if is_sharded:
        shard(backbone, layers, module.device_mesh["data_parallel"], precision)  # pyright: ignore


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    return partial(checkpoint, forward, use_reentrant=False)


def shard(backbone: BackboneLM, layers: list[nn.Module], mesh: Any, precision: str) -> None:
    """FSDP2: each layer is gathered when it is its turn; embedding, head and norms stay from forward to backward."""
    policy = MixedPrecisionPolicy(param_dtype=PRODUCTS.get(precision), reduce_dtype=torch.float32)
    options: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    for layer in layers:
        fully_shard(layer, **options)
    # the head is used after the backbone's forward pass, for the loss in chunks
    fully_shard(backbone, reshard_after_forward=False, **options)


@torch.no_grad()
def gather(backbone: BackboneLM, *, keep: bool) -> None:
    """Put the weights of a sharded backbone together, in place, where `keep` is set; all ranks must call it."""
    for module in backbone.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    whole: dict[int, nn.Parameter] = {}  # a table that is embedding and head stays one
    for module in backbone.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                if id(parameter) not in whole:
                    full = cast(torch.Tensor, parameter.full_tensor())
                    whole[id(parameter)] = nn.Parameter(full.cpu(), requires_grad=parameter.requires_grad)
                if keep:
                    setattr(module, name, whole[id(parameter)])


def _flatten(hidden: Hidden) -> tuple[list[torch.Tensor], Any]:
    return [hidden.last, *hidden.layers.values()], list(hidden.layers)


def _unflatten(tensors: Any, layers: Any) -> Hidden:
    last, *more = tensors
    return Hidden(last=last, layers=dict(zip(layers, more, strict=True)))


_pytree.register_pytree_node(Hidden, _flatten, _unflatten)
"""FSDP2 looks for the tensors of a forward pass in there, to know when its backward pass begins."""
