"""The YAML files that plugins bring in their ``configs/`` packages: group, name, content. Data only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from typing import Any

from stlm.plugin.loader import Plugin

logger = logging.getLogger(__name__)


def plugin_configs(plugin: Plugin) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """``(group, name, content)`` of each file; those of a broken package are left out with a warning."""
    import yaml  # here, so that `stlm --help` does not wait for it

    if plugin.module is None or plugin.dist == "stlm":
        return
    try:
        package = f"{plugin.module}.configs"
        if find_spec(package) is None:
            return
        root = resources.files(package)
        for group in sorted(
            entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("_")
        ):
            for file in sorted(root.joinpath(group).iterdir(), key=lambda entry: entry.name):
                if file.name.endswith(".yaml"):
                    yield group, file.name.removesuffix(".yaml"), yaml.safe_load(file.read_text())
    except Exception as error:
        logger.warning("%s: its configs cannot be read and are left out: %s", plugin.dist, error)
