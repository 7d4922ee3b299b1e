"""Loads every declared component to find what would fail when it is asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import is_dataclass

from stlm.errors import StlmError
from stlm.plugin.registry import KINDS, Registry


def diagnose(registry: Registry) -> list[str]:
    """One line per problem: broken plugins, components that cannot be imported, names with two owners."""
    problems = [f"{plugin.dist}: {plugin.error}" for plugin in registry.plugins if plugin.error]
    for kind in KINDS:
        owned = registry.components(kind)
        for item in owned:
            try:
                config = registry.config_type(kind, f"{item.dist}/{item.component.name}")
                registry.factory(kind, f"{item.dist}/{item.component.name}")
            except StlmError as error:
                problems.append(str(error))
                continue
            if not is_dataclass(config):
                problems.append(f"{item.dist}/{item.component.name}: config {item.component.config} is not a dataclass")
        counts = Counter(item.component.name for item in owned)
        for name, count in counts.items():
            if count > 1:
                owners = ", ".join(item.dist for item in owned if item.component.name == name)
                problems.append(f"{kind} {name!r} has several owners ({owners}): write DIST/{name}")
    return problems
