"""The plugin door: hook specifications, components, loader and registry. No torch."""

from stlm.plugin.component import Component
from stlm.plugin.configs import config_errors, plugin_configs
from stlm.plugin.hookspecs import hookimpl, hookspec
from stlm.plugin.loader import HOOKS, Plugin, load_plugins
from stlm.plugin.registry import KINDS, Choice, Owned, Registry, default_registry, make_config

__all__ = [
    "HOOKS",
    "KINDS",
    "Choice",
    "Component",
    "Owned",
    "Plugin",
    "Registry",
    "config_errors",
    "default_registry",
    "hookimpl",
    "hookspec",
    "load_plugins",
    "make_config",
    "plugin_configs",
]
