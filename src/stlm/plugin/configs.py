"""The YAML files that plugins bring in their ``configs/`` packages: group, name, content. Data only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any, cast

from stlm.plugin.loader import Plugin

logger = logging.getLogger(__name__)

RESERVED = "hydra"
"""Hydra's own group: a file there would change every verb."""


def plugin_configs(plugin: Plugin) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """``(group, name, content)`` of each file; those that cannot be read are left out with a warning."""
    for group, name, content in _read_all(plugin):
        if isinstance(content, dict):
            yield group, name, content
        else:
            logger.warning("%s: configs/%s/%s.yaml is left out: %s", plugin.dist, group, name, content)


def config_errors(plugin: Plugin) -> list[str]:
    """One line for each file of a plugin that cannot be read."""
    return [
        f"configs/{group}/{name}.yaml: {content}"
        for group, name, content in _read_all(plugin)
        if isinstance(content, str)
    ]


def _read_all(plugin: Plugin) -> Iterator[tuple[str, str, dict[str, Any] | str]]:
    """Each file's content, or what is wrong with it."""
    if plugin.module is None or plugin.dist == "stlm":
        return
    try:
        files = list(_files(f"{plugin.module}.configs"))
    except ModuleNotFoundError:  # the plugin is one module and has no room for configs
        return
    except Exception as error:
        yield "*", "*", _line(error)
        return
    for group, file in files:
        yield group, file.name.removesuffix(".yaml"), _read(file) if group != RESERVED else f"{group} is Hydra's group"


def _files(package: str) -> Iterator[tuple[str, Traversable]]:
    if find_spec(package) is None:
        return
    groups = (entry for entry in resources.files(package).iterdir() if entry.is_dir() and entry.name[0] not in "_.")
    for group in sorted(groups, key=lambda entry: entry.name):
        for file in sorted(group.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith(".yaml"):
                yield group.name, file


def _read(file: Traversable) -> dict[str, Any] | str:
    import yaml  # here, so that `stlm --help` does not wait for it

    try:
        content: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except Exception as error:
        return _line(error)
    if not isinstance(content, dict):
        return f"holds {type(content).__name__}, expected keys and values"
    return {str(key): value for key, value in cast("dict[object, Any]", content).items()}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
