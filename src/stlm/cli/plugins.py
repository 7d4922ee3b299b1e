"""List what is installed: every plugin, healthy or broken and why, and its components."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from stlm.plugin import KINDS, Plugin, default_registry, plugin_configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=["doctor"], help="doctor: load every component and report what fails"
    )
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(arguments: argparse.Namespace) -> int:
    registry = default_registry()
    if arguments.action == "doctor":
        from stlm.plugin.doctor import diagnose

        problems = diagnose(registry)
        for line in problems or ["all plugins and components load"]:
            print(line)
        return 1 if problems else 0
    if arguments.json:
        print(json.dumps([asdict(plugin) for plugin in registry.plugins], indent=2))
    else:
        for plugin in registry.plugins:
            _show(plugin)
    return 0


def _show(plugin: Plugin) -> None:
    state = "broken: " + plugin.error if plugin.error else "healthy"
    print(f"{plugin.dist} {plugin.version}  ({state})")
    for kind, hook in KINDS.items():
        for component in plugin.components.get(hook, ()):
            print(f"  {kind:<16} {component.name:<18} {component.summary}")
    for group, name, _ in plugin_configs(plugin):
        if group == "preset":
            print(f"  {group:<16} {name:<18} stlm.load({name!r}, checkpoint=DIR)")
