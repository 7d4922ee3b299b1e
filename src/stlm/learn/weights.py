"""Weights of foreign checkpoints: read as data only, fitted exactly, weight normalisation folded.

torch files load with ``weights_only=True``, so nothing in them runs. Every fault names the file, the key, what was
found and what was expected.
"""

from __future__ import annotations

import fnmatch
import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from stlm.errors import DataError, FormatError, did_you_mean

T = TypeVar("T")

# both stored forms of weight normalisation: the old hook's and the newer parametrisation's
MAGNITUDES = {".weight_g": ".weight_v", ".parametrizations.weight.original0": ".parametrizations.weight.original1"}


def read_weights(path: str | Path) -> dict[str, Any]:
    """The mapping that a ``.safetensors`` or torch file holds, on the CPU.

    Raises:
        DataError: the file is missing, cut off, holds more than plain data, or is no mapping.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected weights: check the path and that the download is complete")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else _read_torch_file(path)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: holds Python objects, expected tensors and plain values only: export the weights again "
            f"({_first_line(error)})"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError) as error:
        raise DataError(
            f"{path}: cannot be read as weights ({_first_line(error)}), expected a whole file: copy it again"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, expected a mapping of names to weights")
    return content


def _read_torch_file(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def read_json(path: str | Path) -> dict[str, Any]:
    """The mapping in a JSON file that lies beside weights.

    Raises:
        DataError: it is missing, unreadable, or holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, expected the settings of weights: check the path") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({_first_line(error)}): copy the file again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, expected a mapping")
    return content


def entry(content: Mapping[str, Any], key: str, kind: type[T], path: str | Path) -> T:
    """The value of one key, of one type.

    Raises:
        FormatError: the key is missing or holds something else.
    """
    if key not in content:
        raise FormatError(f"{path}: no key {key!r}{did_you_mean(key, content)}, got {_some(content)}")
    value = content[key]
    if not isinstance(value, kind):
        raise FormatError(f"{path}: key {key!r} holds {type(value).__name__}, expected {kind.__name__}")
    return value


def load_exactly(
    module: nn.Module,
    state: Mapping[str, Any],
    path: str | Path,
    *,
    ignore: Iterable[str] = (),
    absent: Iterable[str] = (),
) -> None:
    """Fill a module; every tensor must be there, and no other.

    Args:
        module: what is filled, in its own dtype.
        state: tensors by the module's own names.
        path: where they come from, for messages.
        ignore: patterns (``final_proj.*``) of names in `state` that nobody needs.
        absent: patterns of names of the module that may keep what they hold.

    Raises:
        FormatError: a name is missing or unknown, or a shape differs; names the first.
    """
    wanted = module.state_dict()
    given = {name: value for name, value in state.items() if not _matches(name, ignore)}
    missing = [name for name in wanted if name not in given and not _matches(name, absent)]
    if missing:
        raise FormatError(f"{path}: no key {missing[0]!r} of shape {list(wanted[missing[0]].shape)}{_more(missing)}")
    unknown = [name for name in given if name not in wanted]
    if unknown:
        raise FormatError(f"{path}: unexpected key {unknown[0]!r}{did_you_mean(unknown[0], wanted)}{_more(unknown)}")
    for name, value in given.items():
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{path}: key {name!r} holds {type(value).__name__}, expected a tensor")
        if value.shape != wanted[name].shape:
            raise FormatError(
                f"{path}: key {name!r} has shape {list(value.shape)}, expected {list(wanted[name].shape)}: "
                "the weights do not belong to this configuration"
            )
    module.load_state_dict(given, strict=False)


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Give a float32 module the nearest values that float16 holds, so that `compact` loses nothing."""
    for value in (*module.parameters(), *module.buffers()):
        if value.dtype == torch.float32:
            value.copy_(value.half())


def compact(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As a file needs to hold them: float32 tensors as float16 where that changes no value."""
    halves = {name: value.half() for name, value in state.items() if value.dtype == torch.float32}
    same = {name: half for name, half in halves.items() if torch.equal(half.float(), state[name])}
    return {name: same.get(name, value).contiguous() for name, value in state.items()}


def fold_weight_norm(state: Mapping[str, torch.Tensor], path: str | Path) -> dict[str, torch.Tensor]:
    """The state with ``weight = g * v / |v|`` in place of each stored pair, in either form; other tensors as they are.

    The norm runs over all dimensions but those in which `g` is longer than one (Salimans and Kingma, 2016).

    Raises:
        FormatError: one of a pair is missing.
    """
    folded = dict(state)
    for end, direction_end in MAGNITUDES.items():
        for name in [name for name in state if name.endswith((end, direction_end))]:
            stem = name.removesuffix(end).removesuffix(direction_end)
            if f"{stem}.weight" in folded:
                continue
            pair = [stem + end, stem + direction_end]
            absent = next((key for key in pair if key not in state), None)
            if absent is not None:
                raise FormatError(f"{path}: no key {absent!r}, expected it beside {name!r}")
            magnitude, direction = folded.pop(pair[0]), folded.pop(pair[1])
            axes = [axis for axis in range(direction.dim()) if magnitude.shape[axis] == 1 and direction.shape[axis] > 1]
            norm = direction.norm(dim=axes, keepdim=True) if axes else direction.abs()
            folded[f"{stem}.weight"] = direction * (magnitude / norm)
    return folded


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _some(names: Iterable[str]) -> str:
    shown = sorted(map(str, names))
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")
