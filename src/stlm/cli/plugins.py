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
    from stlm.config.hydra import unusable_configs

    registry = default_registry()
    unusable = {id(plugin): unusable_configs(plugin) for plugin in registry.plugins}
    if arguments.action == "doctor":
        from stlm.plugin.doctor import diagnose

        problems = diagnose(registry)
        problems += [f"{plugin.dist}: {line}" for plugin in registry.plugins for line in unusable[id(plugin)]]
        for line in problems or ["all plugins and components load"]:
            print(line)
        return 1 if problems else 0
    if arguments.json:
        found = [{**asdict(plugin), "config_errors": unusable[id(plugin)]} for plugin in registry.plugins]
        print(json.dumps(found, indent=2))
    else:
        for plugin in registry.plugins:
            _show(plugin, unusable[id(plugin)])
    return 0


def _show(plugin: Plugin, unusable: list[str]) -> None:
    errors = [plugin.error] if plugin.error else unusable
    print(f"{plugin.dist} {plugin.version}  ({'broken: ' + errors[0] if errors else 'healthy'})")
    for error in errors[1:]:
        print(f"  broken: {error}")
    for kind, hook in KINDS.items():
        for component in plugin.components.get(hook, ()):
            print(f"  {kind:<16} {component.name:<18} {component.summary}")
    for group, name, _ in plugin_configs(plugin):
        if group == "preset":
            print(f"  {group:<16} {name:<18} stlm.load({name!r}, checkpoint=DIR)")
