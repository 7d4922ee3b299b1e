"""Any causal LM that transformers can load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from stlm.errors import ConfigError, DataError
from stlm_llama.backbone import HuggingFaceBackbone

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the model is, and what to change when it is loaded."""

    path: str = ""
    rope_base: float | None = None
    dtype: str = "float32"


def build(config: Config) -> HuggingFaceBackbone:
    """Load the model.

    Raises:
        ConfigError: no path, or an unknown dtype.
        DataError: the model cannot be loaded from there.
    """
    if not config.path:
        raise ConfigError("causal_lm needs path: a directory with config.json, or a hub name such as org/model")
    if config.dtype not in DTYPES:
        raise ConfigError(f"dtype must be one of {', '.join(DTYPES)}, got {config.dtype!r}")
    return HuggingFaceBackbone(load_model(config.path, DTYPES[config.dtype], rope_base=config.rope_base))


def load_model(path: str, dtype: torch.dtype, *, rope_base: float | None = None) -> PreTrainedModel:
    """A causal LM from a directory or the hub; weights from safetensors, no code from the repository."""
    is_local = Path(path).exists() or path.startswith((".", "/", "~"))
    try:
        options = {} if rope_base is None else {"rope_parameters": {"rope_type": "default", "rope_theta": rope_base}}
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, local_files_only=is_local, trust_remote_code=False, **options
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"cannot load a causal LM from {path!r}: {reason}") from error
