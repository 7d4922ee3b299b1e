"""Loads plugins from entry points so that no broken one takes the program down.

pluggy's own entry-point loader lets an import error out of the host, keeps the first of two equal names silently, and
registers misspelt hooks without a word; this one records each of these beside the distribution that caused it.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import cast

import pluggy

from stlm.errors import did_you_mean
from stlm.plugin import hookspecs
from stlm.plugin.component import Component

GROUP = "stlm"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("stlm_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One distribution and what it offers, or why it is broken.

    Args:
        dist: the distribution's name.
        version: its version.
        module: its import name, or None if it could not be imported.
        components: components by hook name.
        error: what is wrong with it; None for a healthy plugin.
    """

    dist: str
    version: str
    module: str | None = None
    components: dict[str, tuple[Component, ...]] = field(default_factory=dict[str, tuple[Component, ...]])
    error: str | None = None


def load_plugins(found: Iterable[EntryPoint] | None = None) -> list[Plugin]:
    """Load every plugin once, in order of name; broken ones are listed with their error.

    Set ``STLM_PLUGIN_TRACE=1`` to have the first error raised with its traceback instead.
    """
    points = sorted(entry_points(group=GROUP) if found is None else found, key=lambda point: point.name)
    return [_load(point) for point in _unique(points)]


def _unique(points: list[EntryPoint]) -> Iterator[EntryPoint]:
    """Editable installs can list one entry point twice; the same target under one name is one plugin."""
    seen: set[tuple[str, str]] = set()
    for point in points:
        if (point.name, point.value) not in seen:
            seen.add((point.name, point.value))
            yield point


def _load(point: EntryPoint) -> Plugin:
    dist = point.dist.name if point.dist is not None else point.name
    version = point.dist.version if point.dist is not None else "?"
    try:
        with redirect_stdout(sys.stderr):  # what a plugin prints is not the output of a verb
            module = point.load()
            components = _components(module)
        return Plugin(dist=dist, version=version, module=point.module, components=components)
    except (Exception, SystemExit) as error:
        if os.environ.get("STLM_PLUGIN_TRACE"):
            raise
        return Plugin(dist=dist, version=version, error=f"{type(error).__name__}: {error}".splitlines()[0])


def _components(module: ModuleType) -> dict[str, tuple[Component, ...]]:
    manager = pluggy.PluginManager("stlm")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise TypeError(_explain_pending(module, error)) from error
    found: dict[str, tuple[Component, ...]] = {}
    for name in HOOKS:
        # called directly: pluggy's own call drops a None, which is a forgotten return
        for implementation in getattr(manager.hook, name).get_hookimpls():
            found[name] = _checked(name, implementation.function())
        if name in vars(module) and name not in found:
            raise TypeError(f"{name} is not marked with stlm.plugin.hookimpl")
    return found


def _explain_pending(module: ModuleType, error: pluggy.PluginValidationError) -> str:
    unknown = [name for name in vars(module) if name.startswith("stlm_") and name not in HOOKS]
    return "; ".join(f"no hook {name!r}{did_you_mean(name, HOOKS)}" for name in unknown) or str(error)


def _checked(hook: str, result: object) -> tuple[Component, ...]:
    items = cast("Sequence[object]", result) if isinstance(result, list | tuple) else ()
    components = tuple(item for item in items if isinstance(item, Component))
    if not components or len(components) < len(items):
        raise TypeError(f"{hook} must return a sequence of stlm.plugin.Component, got {result!r}")
    for component in components:
        _check(hook, component)
    twice = [name for name, count in Counter(component.name for component in components).items() if count > 1]
    if twice:
        raise TypeError(f"{hook} offers {twice[0]!r} twice: a name is for one component")
    return components


def _check(hook: str, component: Component) -> None:
    for entry in fields(component):
        value: object = getattr(component, entry.name)
        if not isinstance(value, str):
            raise TypeError(f"{hook}: the {entry.name} of {component!r} is {value!r}, expected a string")
    if not component.name or "/" in component.name:
        raise TypeError(f"{hook}: a component is called {component.name!r}, expected a name without '/'")
    for path in (component.factory, component.config):
        if path.count(":") != 1:
            raise TypeError(f"{hook}: {component.name!r} has {path!r}, expected 'module:attribute'")
