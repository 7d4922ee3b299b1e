"""Linear layers in four or eight bits, for adapters to be trained beside them (QLoRA, Dettmers et al. 2023).

In: the name of a quantization. Out: what transformers needs to load a model so, through bitsandbytes. Only the linear
layers inside the model are quantized; embedding, head and norms keep the model's dtype. A 7B takes about 4 GB in nf4.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from stlm.errors import PluginError

NONE = "none"
QUANTIZATIONS = (NONE, "nf4", "int8")


def quantization_config(kind: str) -> BitsAndBytesConfig:
    """How transformers loads ``nf4`` (its constants quantized again, products in bf16) or ``int8``.

    Raises:
        PluginError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise PluginError(f"quantization={kind} needs the package bitsandbytes: pip install 'stlm-llama[qlora]'")
    # it says at each product that inputs become fp16
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def quantized_layers(model: nn.Module) -> list[nn.Module]:
    """Modules whose own weight is quantized."""
    return [
        module
        for module in model.modules()
        if not all(parameter.is_floating_point() for parameter in module.parameters(recurse=False))
    ]


def ready_for_training(model: nn.Module) -> None:
    """Keep quantized weights out of state dicts, and in the one layout that gradients go through.

    They never change, and bitsandbytes cannot load them into a layer: a training resumes with those that it reads from
    the model's own files. On some CPUs it lays weights out anew at the first use outside training, and from then on
    passes no gradient back, without an error.
    """
    for layer in quantized_layers(model):
        layer.register_state_dict_post_hook(_drop_weight)
        layer.register_load_state_dict_pre_hook(_put_own_weight)
        if isinstance(layer, _linear_in_four_bits()):
            layer.support_avx512bf16_for_cpu = False


def _linear_in_four_bits() -> type[nn.Module]:
    return importlib.import_module("bitsandbytes.nn").Linear4bit


def _drop_weight(layer: nn.Module, state: dict[str, Any], prefix: str, _: object) -> None:
    """Without the quantized weight and its constants."""
    kept = {prefix + name for name, parameter in layer.named_parameters() if parameter.is_floating_point()}
    for key in [key for key in state if key.startswith(prefix) and key not in kept]:
        del state[key]


def _put_own_weight(layer: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """As if the state held the weight that the layer has."""
    own = {prefix + name: weight for name, weight in layer.named_parameters() if not weight.is_floating_point()}
    state.update(own)
