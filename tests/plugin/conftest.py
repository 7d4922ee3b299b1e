"""Plugins made on the spot: a module on the path and an entry point that names it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

import pytest

HEAD = "from stlm.plugin import Component, hookimpl\n"
Install = Callable[..., EntryPoint]


def write_distribution(root: Path, dist: str, module: str, version: str = "1.2") -> Distribution:
    """What pip would leave: metadata and the entry point, without building a wheel."""
    info = root / f"{dist.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[stlm]\n{dist} = {module}\n")
    (found,) = (item for item in distributions(path=[str(root)]) if item.name == dist)
    return found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(dist, source)`` gives the entry point of a plugin whose module has that source."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def run(dist: str, source: str, module: str | None = None) -> EntryPoint:
        name = module or dist.replace("-", "_")
        (tmp_path / f"{name}.py").write_text(HEAD + source)
        made.append(name)
        found = write_distribution(tmp_path, dist, name)
        return next(iter(found.entry_points))

    yield run
    for name in made:
        sys.modules.pop(name, None)


def offers(hook: str, *names: str, module: str = "stlm.interleave.unimodal") -> str:
    """The source of a plugin that offers these components."""
    made = ", ".join(f"Component(name={name!r}, factory='{module}:build', config='{module}:Config')" for name in names)
    return f"@hookimpl\ndef {hook}():\n    return [{made}]\n"


@pytest.fixture
def make_source() -> Callable[..., str]:
    return offers
