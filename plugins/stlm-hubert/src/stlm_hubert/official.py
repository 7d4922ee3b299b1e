"""The official checkpoint layout of the 25 Hz HuBERT: two torch files to a Hugging Face model and a quantizer.

The configuration is read from the files; a key that is absent has the default that the model's authors' code gives it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stlm.errors import FormatError
from stlm.learn.weights import entry, fold_weight_norm, read_weights
from stlm_hubert.layer_list import parse_layers
from stlm_hubert.model_25hz import LAYER, SAMPLE_RATE, Hubert25HzModel
from stlm_hubert.quantizer import QuantizerSizes

DEFAULT_LAYERS = "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"

# numbers of model_cfg: key there, option of HubertConfig, default
NUMBERS = (
    ("encoder_embed_dim", "hidden_size", 768),
    ("encoder_ffn_embed_dim", "intermediate_size", 3072),
    ("encoder_layers", "num_hidden_layers", 12),
    ("encoder_attention_heads", "num_attention_heads", 12),
    ("conv_pos", "num_conv_pos_embeddings", 128),
    ("conv_pos_groups", "num_conv_pos_embedding_groups", 16),
)

# the start of a key there and here; the first that fits counts
RENAMED = tuple(
    (re.compile(pattern), target)
    for pattern, target in (
        (r"^mask_emb$", "masked_spec_embed"),
        (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
        (r"^feature_extractor\.conv_layers\.0\.2\.", "feature_extractor.conv_layers.0.layer_norm."),
        (r"^layer_norm\.", "feature_projection.layer_norm."),
        (r"^post_extract_proj\.", "feature_projection.projection."),
        (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
        (r"^encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
        (r"^encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
        (r"^encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
        (r"^encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    )
)
OF_TRAINING = re.compile(r"^(final_proj\.|label_embs_concat$)")


def read_official(model_path: Path, quantizer_path: Path) -> Hubert25HzModel:
    """Model and quantizer from the official files.

    Raises:
        DataError: a file is missing or cut off, or holds more than plain data. FormatError: it holds something else
            than the layout says; names file, key, what was found and what was expected.
    """
    model = read_weights(model_path)
    options = hubert_options(entry(model, "model_cfg", dict, model_path), str(model_path))
    _check_task(entry(model, "task_cfg", dict, model_path), model_path)
    state = renamed(entry(model, "model_weight", dict, model_path), model_path)
    quantizer = read_weights(quantizer_path)
    sizes = QuantizerSizes.from_mapping(entry(quantizer, "model_cfg", dict, quantizer_path), quantizer_path)
    if sizes.dim != options["hidden_size"]:
        raise FormatError(
            f"{quantizer_path}: model_cfg 'dim' is {sizes.dim}, expected {options['hidden_size']} as "
            f"'encoder_embed_dim' of {model_path}: the two files do not belong together"
        )
    return Hubert25HzModel.checked(
        options=options,
        state=fold_weight_norm(state, model_path),
        sizes=sizes,
        quantizer=entry(quantizer, "model_weight", dict, quantizer_path),
        paths=(model_path, quantizer_path),
    )


def hubert_options(model_cfg: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Options of ``HubertConfig`` from ``model_cfg``, with only as many layers as are run.

    Raises:
        FormatError: a value has another type or is none that is known.
    """
    options: dict[str, Any] = {name: _number(model_cfg, key, default, path) for key, name, default in NUMBERS}
    _check_divides(options, "num_attention_heads", path)
    _check_divides(options, "num_conv_pos_embedding_groups", path)
    _expect(model_cfg, "extractor_mode", "default", path)
    _expect(model_cfg, "layer_norm_first", False, path)
    _expect(model_cfg, "activation_fn", "gelu", path)
    text = _value(model_cfg, "conv_feature_layers", DEFAULT_LAYERS, str, path)
    channels, kernels, strides = zip(*parse_layers(text, f"{path}: model_cfg 'conv_feature_layers'"), strict=True)
    return options | {
        "num_hidden_layers": min(LAYER, options["num_hidden_layers"]),
        "conv_dim": list(channels),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "conv_bias": _value(model_cfg, "conv_bias", False, bool, path),
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        "hidden_act": "gelu",
    }


def renamed(state: Mapping[str, Any], path: object) -> dict[str, torch.Tensor]:
    """Tensors under the names of Hugging Face's ``HubertModel``, those that only training needs left out."""
    result = {}
    for key, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{path}: model_weight {key!r} holds {type(value).__name__}, expected a tensor")
        if not OF_TRAINING.match(key):
            result[_new_name(key)] = value
    return result


def _new_name(key: str) -> str:
    for pattern, target in RENAMED:
        name, found = pattern.subn(target, key)
        if found:
            return name
    return key


def _check_task(task_cfg: Mapping[str, Any], path: Path) -> None:
    if task_cfg.get("normalize", False) is not False:
        raise FormatError(f"{path}: task_cfg 'normalize' is {task_cfg['normalize']!r}, expected False (raw waveforms)")
    if task_cfg.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
        raise FormatError(f"{path}: task_cfg 'sample_rate' is {task_cfg['sample_rate']!r}, expected {SAMPLE_RATE}")


def _value(values: Mapping[str, Any], key: str, default: Any, kind: type, path: str) -> Any:
    value = values.get(key, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormatError(f"{path}: model_cfg {key!r} is {value!r}, expected {kind.__name__}")
    return value


def _number(values: Mapping[str, Any], key: str, default: int, path: str) -> int:
    number = _value(values, key, default, int, path)
    if number < 1:
        raise FormatError(f"{path}: model_cfg {key!r} is {number}, expected 1 or more")
    return number


def _check_divides(options: Mapping[str, Any], name: str, path: str) -> None:
    key = next(key for key, other, _ in NUMBERS if other == name)
    if options["hidden_size"] % options[name]:
        raise FormatError(
            f"{path}: model_cfg {key!r} is {options[name]}, expected a divisor of 'encoder_embed_dim' "
            f"({options['hidden_size']})"
        )


def _expect(values: Mapping[str, Any], key: str, expected: object, path: str) -> None:
    if values.get(key, expected) != expected:
        raise FormatError(f"{path}: model_cfg {key!r} is {values[key]!r}, expected {expected!r}: not a supported model")
