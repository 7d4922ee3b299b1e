"""Stable identity of what was learnt: arrays and options to a sha256 hex string."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import torch


def fingerprint(arrays: Mapping[str, np.ndarray | torch.Tensor], options: object = None) -> str:
    """Hash of named arrays (name, dtype, shape, bytes) and of options; independent of order, machine and process.

    Args:
        arrays: NumPy arrays or tensors by name.
        options: anything that JSON can hold, or a dataclass of such.
    """
    digest = hashlib.sha256(_json(options).encode())
    for name in sorted(arrays):
        array = _plain(arrays[name])
        digest.update(f"\n{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _json(options: object) -> str:
    plain: Any = asdict(options) if is_dataclass(options) and not isinstance(options, type) else options
    return json.dumps(plain, sort_keys=True)


def _plain(array: np.ndarray | torch.Tensor) -> np.ndarray:
    values = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
