"""Small expected results kept beside the tests as JSON, to be read and reviewed like code.

``STLM_UPDATE_GOLDENS=1`` writes them anew; a missing golden is an error, never silently accepted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

UPDATE = "STLM_UPDATE_GOLDENS"
LARGEST = 100_000


def assert_golden(path: str | Path, value: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Compare a value with the golden at `path`.

    Args:
        path: a ``.json`` file.
        value: numbers, strings, booleans, None, arrays, and lists, tuples and string-keyed mappings of them.
        rtol, atol: tolerance for floats; everything else must be equal.

    Raises:
        AssertionError: the value differs, the golden is missing, or it would be larger than 100 kB.
    """
    path = Path(path)
    got = _plain(value)
    if os.environ.get(UPDATE):
        text = json.dumps(got, indent=1, ensure_ascii=False) + "\n"
        assert len(text) <= LARGEST, f"{path}: a golden of {len(text)} bytes is too large to review: keep a digest"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    assert path.exists(), f"{path}: no golden: run once with {UPDATE}=1, read what it wrote, and commit it"
    problem = difference(json.loads(path.read_text()), got, rtol=rtol, atol=atol)
    assert problem is None, f"{path.name}: {problem} (if this is meant: {UPDATE}=1)"


def difference(expected: Any, got: Any, *, rtol: float = 0.0, atol: float = 0.0, where: str = "value") -> str | None:
    """The first place where two plain values differ, or None."""
    if isinstance(expected, dict) and isinstance(got, dict):
        if list(expected) != list(got):
            return f"{where} has keys {list(got)}, expected {list(expected)}"
        pairs = [(f"{where}.{key}", expected[key], got[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(got, list):
        if len(expected) != len(got):
            return f"{where} has {len(got)} entries, expected {len(expected)}"
        pairs = [(f"{where}[{index}]", *pair) for index, pair in enumerate(zip(expected, got, strict=True))]
    else:
        return None if _same(expected, got, rtol, atol) else f"{where} is {got!r}, expected {expected!r}"
    problems = (difference(left, right, rtol=rtol, atol=atol, where=place) for place, left, right in pairs)
    return next((problem for problem in problems if problem is not None), None)


def _same(expected: Any, got: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, float) and isinstance(got, int | float) and not isinstance(got, bool):
        return bool(np.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True))
    return type(expected) is type(got) and expected == got


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a golden holds plain values and arrays, got {type(value).__name__}")
