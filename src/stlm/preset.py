"""Presets: published systems as data. A plugin's ``configs/preset/NAME.yaml`` names the parts of one, their files
relative to the directory of its checkpoint.

```yaml
format: spiritlm_base                     # a file of the group `format`, or the format itself
checkpoint_variable: SPIRITLM_CHECKPOINTS_DIR
parts:
  text: {name: sentencepiece, path: "{checkpoint}/tokenizer.model"}
  encoders/hubert: {name: hubert_25hz, path: "{checkpoint}/hubert"}
  backbone: {name: causal_lm, path: "{checkpoint}/lm"}
```

A preset without a backbone encodes, decodes and resynthesises. ``weights: weights`` names a folder in the plugin's own
package, for what is small enough to come with it; a checkpoint that is given goes before it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from stlm.errors import ConfigError, DataError, FormatError
from stlm.parts import Parts
from stlm.plugin import Choice, Plugin, default_registry, plugin_configs
from stlm.types import Format

GROUP = "preset"
CHECKPOINT = "{checkpoint}"
KEYS = ("format", "checkpoint_variable", "weights", "parts")


def presets() -> dict[str, str]:
    """Names of the installed presets, and the distribution that each comes from."""
    return {name: plugin.dist for plugin in default_registry().plugins for name in _files(plugin, GROUP)}


def preset_parts(name: str, checkpoint: str | Path | None) -> Parts:
    """The parts of a preset whose weights lie in a directory.

    Raises:
        ConfigError: there is no such preset, two plugins offer it, or no directory is given.
        DataError: the directory does not exist. FormatError: the preset's file is wrong.
    """
    owners = [plugin for plugin in default_registry().plugins if name in _files(plugin, GROUP)]
    if len(owners) != 1:
        found = ", ".join(plugin.dist for plugin in owners) or "nobody"
        raise ConfigError(
            f"preset {name!r} is offered by {found}, expected one plugin; presets: {', '.join(presets())}"
        )
    preset = _files(owners[0], GROUP)[name]
    for key in preset:
        if key not in KEYS:
            raise FormatError(
                f"preset {name!r} of {owners[0].dist}: unknown key {key!r}; known keys: {', '.join(KEYS)}"
            )
    root = _directory(name, checkpoint, preset.get("checkpoint_variable"), _shipped(owners[0], preset))
    given = preset["format"]
    format = given if isinstance(given, Mapping) else _files(owners[0], "format")[given]
    parts = {role: _part(options, root) for role, options in preset["parts"].items()}
    return Parts(where=f"{name} ({root})", format=Format.from_dict(format), parts=parts)


def _shipped(plugin: Plugin, preset: Mapping[str, Any]) -> str | None:
    """The folder of weights in the plugin's package."""
    if "weights" not in preset:
        return None
    return str(resources.files(str(plugin.module)) / preset["weights"])


def _directory(name: str, checkpoint: str | Path | None, variable: str | None, shipped: str | None) -> Path:
    """Where the weights are."""
    given = checkpoint or (os.environ.get(variable) if variable else None) or shipped
    if not given:
        or_variable = f" or set {variable}" if variable else ""
        raise ConfigError(f"{name} is a preset and needs its weights: give --checkpoint DIR (checkpoint=){or_variable}")
    root = Path(given).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such directory, expected the checkpoint of {name}: check the path")
    return root


def _part(options: Mapping[str, Any], root: Path) -> Choice:
    filled = {
        key: value.replace(CHECKPOINT, str(root)) if isinstance(value, str) else value for key, value in options.items()
    }
    return Choice(name=filled.pop("name"), options=filled)


def _files(plugin: Any, group: str) -> dict[str, Any]:
    """Content by name of a plugin's files in one group."""
    return {name: content for found, name, content in plugin_configs(plugin) if found == group}
