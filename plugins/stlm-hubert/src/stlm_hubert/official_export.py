"""A model and a quantizer to the two files of the official layout; the inverse of `official`.

What is written is plain data: tensors, numbers, strings, lists and dicts, which ``torch.load`` reads with
``weights_only=True``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from stlm.errors import ConfigError
from stlm_hubert.model_25hz import LAYER, SAMPLE_RATE
from stlm_hubert.official import NUMBERS
from stlm_hubert.quantizer import QuantizerSizes

# the start of a key here and there; the first that fits counts
RENAMED = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (r"^masked_spec_embed$", "mask_emb"),
        (r"^feature_extractor\.conv_layers\.0\.layer_norm\.", "feature_extractor.conv_layers.0.2."),
        (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
        (r"^feature_projection\.layer_norm\.", "layer_norm."),
        (r"^feature_projection\.projection\.", "post_extract_proj."),
        (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0$", "encoder.pos_conv.0.weight_g"),
        (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1$", "encoder.pos_conv.0.weight_v"),
        (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
        (r"^encoder\.layers\.(\d+)\.attention\.", r"encoder.layers.\1.self_attn."),
        (r"^encoder\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.self_attn_layer_norm."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense\.", r"encoder.layers.\1.fc1."),
        (r"^encoder\.layers\.(\d+)\.feed_forward\.output_dense\.", r"encoder.layers.\1.fc2."),
    )
)
EXPECTED = {  # of the model's configuration; the layout knows nothing else
    "model_type": "hubert",
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "conv_bias": False,
    "feat_proj_layer_norm": True,
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "layer_norm_eps": 1e-5,
}


def check_exportable(model: PreTrainedModel, layer: int, *, normalize: bool) -> None:
    """Raise ConfigError where the official layout cannot hold a model whose `layer` is quantized."""
    for name, expected in EXPECTED.items():
        found = getattr(model.config, name)
        if found != expected:
            raise ConfigError(
                f"the model has {name}={found!r}, expected {expected!r}, which is all that the 25 Hz layout knows: "
                "use its k-means units (unit_encoder=hubert), or pretrain another model"
            )
    if normalize:
        raise ConfigError("the model hears normalised waves (do_normalize), and the 25 Hz layout has raw ones only")
    if layer > LAYER and model.config.num_hidden_layers > LAYER:
        raise ConfigError(f"layer is {layer}, expected 1..{LAYER}: the 25 Hz layout never runs a layer above {LAYER}")


def write_official(
    model: PreTrainedModel,
    layer: int,
    sizes: QuantizerSizes,
    quantizer: Mapping[str, torch.Tensor],
    files: tuple[Path, Path],
) -> None:
    """The model cut to `layer` layers, and its quantizer with keys ``0, 2, 4``, into the two `files`."""
    num_layers = min(layer, model.config.num_hidden_layers)
    state = {official_name(name): value for name, value in model.state_dict().items() if _is_kept(name, num_layers)}
    content = {
        "model_cfg": _model_options(model.config, num_layers),
        "task_cfg": {"sample_rate": SAMPLE_RATE, "normalize": False},
        "model_weight": {name: value.detach().cpu().clone() for name, value in state.items()},
        "dictionaries_symbols": [[str(unit) for unit in range(sizes.vocab_size)]],
    }
    torch.save(content, files[0])
    weights = {name: value.detach().cpu().clone() for name, value in quantizer.items()}
    torch.save({"model_cfg": asdict(sizes), "model_weight": weights}, files[1])


def official_name(name: str) -> str:
    """The official name of a tensor of ``HubertModel``."""
    for pattern, target in RENAMED:
        renamed, found = pattern.subn(target, name)
        if found:
            return renamed
    return name


def _model_options(config: Any, num_layers: int) -> dict[str, Any]:
    numbers = {key: getattr(config, name) for key, name, _ in NUMBERS} | {"encoder_layers": num_layers}
    triples = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    return numbers | {
        "conv_feature_layers": " + ".join(
            f"[({channels}, {kernel}, {stride})]" for channels, kernel, stride in triples
        ),
        "conv_bias": False,
        "extractor_mode": "default",
        "layer_norm_first": False,
        "activation_fn": "gelu",
    }


def _is_kept(name: str, num_layers: int) -> bool:
    parts = name.split(".")
    return parts[:2] != ["encoder", "layers"] or int(parts[2]) < num_layers
