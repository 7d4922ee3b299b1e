"""Any causal LM that transformers can load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from stlm.errors import ConfigError, DataError
from stlm.interfaces.batch import PackedBatch
from stlm_llama.backbone import HuggingFaceBackbone
from stlm_llama.quantized import NONE, QUANTIZATIONS, quantization_config, ready_for_training

BUFFERS = (".inv_freq", ".masked_bias", ".attn.bias", ".attention.bias")
"""Ends of names of constants that older checkpoints hold and no model reads."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the model is, and what to change when it is loaded."""

    path: str = ""
    rope_base: float | None = None
    dtype: str = "float32"
    quantization: str = NONE


def build(config: Config) -> HuggingFaceBackbone:
    """Load the model.

    Raises:
        ConfigError: no path, an unknown dtype or quantization, or a model in which documents of a row would mix.
        DataError: the model cannot be loaded from there.
        PluginError: a package for the quantization is missing.
    """
    if not config.path:
        raise ConfigError("causal_lm needs path: a directory with config.json, or a hub name such as org/model")
    if config.dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {config.dtype!r}")
    if config.quantization not in QUANTIZATIONS:
        raise ConfigError(f"quantization must be one of {', '.join(QUANTIZATIONS)}, got {config.quantization!r}")
    dtype = DTYPES[config.dtype]
    model = load_model(config.path, dtype, rope_base=config.rope_base, quantization=config.quantization)
    ready_for_training(model)
    backbone = HuggingFaceBackbone(model)
    is_exact = dtype == torch.float32 and config.quantization == NONE
    _check_packing(backbone, config.path, tolerance=1e-3 if is_exact else 0.05)
    return backbone


def load_model(
    path: str, dtype: torch.dtype, *, rope_base: float | None = None, quantization: str = NONE
) -> PreTrainedModel:
    """A causal LM from a directory or the hub; no code from the repository, and every weight from the file.

    Raises:
        DataError: it cannot be read, or a weight is missing, unknown or of another shape than config.json says.
        PluginError: a package for the quantization is missing.
    """
    is_local = Path(path).exists() or path.startswith((".", "/", "~"))
    options = {} if rope_base is None else {"rope_parameters": {"rope_type": "default", "rope_theta": rope_base}}
    if quantization != NONE:  # on the CPU, whatever the machine has: the trainer moves the model
        options |= {"quantization_config": quantization_config(quantization), "device_map": {"": "cpu"}}
    try:
        with _without_report():
            model, report = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype,
                local_files_only=is_local,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # they are in the report, by name
                output_loading_info=True,
                **options,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"cannot load a causal LM from {path!r}: {reason}") from error
    _check(report, path)
    return model


def _check_packing(backbone: HuggingFaceBackbone, path: str, *, tolerance: float) -> None:
    """Raise ConfigError if a document sees the one before it in its row.

    Some architectures ignore positions and some keep a state, and nothing that they declare tells; so five ids try it.
    """
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    packed = PackedBatch(ids=ids, positions=torch.tensor([[0, 1, 0, 1, 2]]), segments=torch.tensor([[1, 1, 2, 2, 2]]))
    alone = PackedBatch(ids=ids[:, 2:], positions=packed.positions[:, 2:], segments=packed.segments[:, 2:])
    training = backbone.training
    with torch.no_grad():
        backbone.eval()
        found, expected = backbone(packed).last[:, 2:].float(), backbone(alone).last.float()
        backbone.train(training)
    if not (found - expected).norm() <= tolerance * expected.norm():
        raise ConfigError(
            f"{path}: in {type(backbone.model).__name__} a document sees the one before it in its row, expected a "
            "model that keeps them apart by position_ids: choose one such as Llama, Qwen, Mistral, OPT or GPT-NeoX"
        )


@contextmanager
def _without_report() -> Iterator[None]:
    """transformers prints a table of what does not fit and goes on with random weights; here it is an error."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _check(report: Mapping[str, Any], path: str) -> None:
    """Raise DataError for the first weight that is not as config.json says."""
    mismatched = sorted(key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])
    unexpected = sorted(key for key in report["unexpected_keys"] if not key.endswith(BUFFERS))
    for keys, fault in (
        (sorted(report["missing_keys"]), "is missing"),
        (mismatched, "has another shape"),
        (unexpected, "has no place in the model"),
    ):
        if keys:
            more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
            raise DataError(
                f"{path}: weight {keys[0]!r} {fault}{more}, expected what config.json says: the files do not belong "
                "together or are incomplete; copy them again"
            )
