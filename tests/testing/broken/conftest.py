"""Runs single laws of contracts on parts that are broken on purpose: a law that cannot fail is none.

A case is ``(contract, part, laws)``, or with a fourth entry that stands for ``reload`` or ``build_trained``.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from stlm.testing import contracts


def call(suite: Any, contract: type, law: str, part: Any, given: dict[str, Any]) -> None:
    """Call one law as pytest would, with the part for the contract's own fixture, once for each parameter."""
    method = getattr(suite, law)
    marks = [mark for mark in getattr(method, "pytestmark", []) if mark.name == "parametrize"]
    choices = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
    for choice in choices:
        known = {**given, **choice}
        names = inspect.signature(method).parameters
        method(**{name: find(suite, contract, name, known, part) for name in names})


def find(suite: Any, contract: type, name: str, known: dict[str, Any], part: Any) -> Any:
    """A fixture's value: given, made by the contract, or else the part itself, which the contract does not have."""
    if name in known:
        return known[name]
    fixture = inspect.getattr_static(contract, name, None)
    if fixture is None:
        return part
    function = fixture._get_wrapped_function()
    needs = list(inspect.signature(function).parameters)[1:]
    return function(suite, **{need: find(suite, contract, need, known, part) for need in needs})


def outcome(contract: str, part: Callable[[], Any], law: str, reload: Callable[[Path], Any] | None) -> str:
    kind = getattr(contracts, contract)
    load = {name: (lambda self, place: reload(place)) for name in ("reload", "build_trained")} if reload else {}
    members = {"mirrored": True, **load}
    suite = type(f"Test{contract}", (kind,), members)()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as monkeypatch:
        try:
            given = {"tmp_path": Path(directory), "monkeypatch": monkeypatch}
            call(suite, kind, f"test_{law}", part(), given)
        except pytest.skip.Exception:
            return "skipped"
        except (Exception, pytest.fail.Exception):
            return "caught"
    return "passed"


@pytest.fixture
def breaks() -> Callable[..., dict[str, str]]:
    """What each law says to a part: "caught", "passed" or "skipped"."""

    def run(contract: str, part: Callable[[], Any], laws: Sequence[str], reload: Any = None) -> dict[str, str]:
        return {law: outcome(contract, part, law, reload) for law in laws}

    return run


@pytest.fixture
def laws_of() -> Callable[[str], list[str]]:
    """Names of a contract's own laws."""

    def run(contract: str) -> list[str]:
        kind = getattr(contracts, contract)
        shared = vars(contracts.ComponentContract)
        return [name.removeprefix("test_") for name in vars(kind) if name.startswith("test_") and name not in shared]

    return run


@pytest.fixture
def untested_laws(laws_of) -> Callable[[Sequence[tuple]], list[tuple[str, str]]]:
    """Laws for which no case shows that they can fail."""

    def run(cases: Sequence[tuple]) -> list[tuple[str, str]]:
        broken = {(case[0], law) for case in cases for law in case[2]}
        return [
            (name, law)
            for name in sorted({case[0] for case in cases})
            for law in laws_of(name)
            if (name, law) not in broken
        ]

    return run
