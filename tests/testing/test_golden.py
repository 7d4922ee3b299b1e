"""Goldens are compared exactly where they can be, and written only on request."""

import json
from pathlib import Path

import numpy as np
import pytest

from stlm.testing.golden import UPDATE, assert_golden

VALUE = {
    "ids": np.array([[1, 2], [3, 4]]),
    "name": "a",
    "share": 0.5,
    "none": None,
    "flags": (True, False),
    "n": np.int64(3),
}


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "goldens" / "value.json"
    monkeypatch.setenv(UPDATE, "1")
    assert_golden(path, VALUE)
    monkeypatch.delenv(UPDATE)
    return path


def test_an_equal_value_passes(golden: Path) -> None:
    assert_golden(golden, VALUE)
    assert json.loads(golden.read_text())["ids"] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([[1, 2], [3, 5]])}, r"value.ids\[1\]\[1\] is 5, expected 4"),
        ({"ids": np.array([[1, 2]])}, "value.ids has 1 entries, expected 2"),
        ({"name": "b"}, "value.name is 'b', expected 'a'"),
        ({"share": 0.5001}, r"value.share is 0.5001, expected 0.5"),
        ({"flags": (True, 0)}, r"value.flags\[1\] is 0, expected False"),
        ({"none": 0}, "value.none is 0, expected None"),
        ({"n": 3.0}, "value.n is 3.0, expected 3"),
        ({"more": 1}, "value has keys"),
    ],
)
def test_a_difference_is_named_by_its_place(golden: Path, changes: dict, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_golden(golden, {**VALUE, **changes})


def test_floats_may_differ_by_the_tolerance(golden: Path) -> None:
    assert_golden(golden, {**VALUE, "share": 0.5001}, atol=1e-3)
    with pytest.raises(AssertionError, match="share"):
        assert_golden(golden, {**VALUE, "share": 0.51}, atol=1e-3)


def test_a_missing_golden_is_no_pass(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"no golden: run once with {UPDATE}=1"):
        assert_golden(tmp_path / "nothing.json", 1)


def test_large_goldens_and_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UPDATE, "1")
    with pytest.raises(AssertionError, match="too large to review"):
        assert_golden(tmp_path / "large.json", np.zeros(100_000))
    with pytest.raises(TypeError, match="got object"):
        assert_golden(tmp_path / "object.json", object())
