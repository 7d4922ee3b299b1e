"""Finds components by name: bare where one plugin owns the name, ``dist/name`` always."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from typing import Any

from stlm.errors import ConfigError, PluginError, StlmError, did_you_mean
from stlm.plugin.component import Component
from stlm.plugin.loader import HOOKS, Plugin, load_plugins

KINDS = {hook.removeprefix("stlm_").removesuffix("s"): hook for hook in HOOKS}
"""Component kind (``unit_encoder``) to hook (``stlm_unit_encoders``)."""

FIRST_PARTY = {
    "windtunnel": "stlm-windtunnel",
    "windtunnel_cloze": "stlm-windtunnel",
    "windtunnel_wuggy": "stlm-windtunnel",
    "windtunnel_blimp": "stlm-windtunnel",
    "logmel": "stlm-logmel",
    "griffinlim": "stlm-logmel",
    "logmel_kmeans": "stlm-logmel",
    "sentencepiece": "stlm-bpe",
    "hf_tokenizer": "stlm-bpe",
    "bpe": "stlm-bpe",
    "byte_bpe": "stlm-bpe",
    "llama": "stlm-llama",
    "causal_lm": "stlm-llama",
    "hubert": "stlm-hubert",
    "hubert_25hz": "stlm-hubert",
    "hubert_pretrain": "stlm-hubert",
    "hubert_kmeans": "stlm-hubert",
    "hubert_quantizer": "stlm-hubert",
    "fcpe": "stlm-pitch",
    "praat": "stlm-pitch",
    "pitch_vqvae": "stlm-pitch",
    "style_w2v2": "stlm-style",
    "style_units": "stlm-style",
    "hifigan": "stlm-hifigan",
    "ctc": "stlm-ctc",
    "whisper": "stlm-judges",
    "wav2vec2_ctc": "stlm-judges",
    "pocketsphinx": "stlm-judges",
    "hf_datasets": "stlm-datasets",
    "lhotse": "stlm-datasets",
    "ray": "stlm-ray",
    "split": "stlm-vad",
    "mms": "stlm-align",
    "aligner wav2vec2_ctc": "stlm-align",
    "aligner pocketsphinx": "stlm-align",
}
"""Which first-party distribution brings a component, for the hint when it is not installed; where two bring one name,
the later one's has its kind before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A component and the distribution that it comes from."""

    dist: str
    version: str
    component: Component


class Registry:
    """All components of a set of plugins.

    Args:
        plugins: as `load_plugins` returns them.
    """

    def __init__(self, plugins: list[Plugin]) -> None:
        self.plugins = plugins

    def components(self, kind: str) -> list[Owned]:
        """Components of one kind, in order of distribution.

        Raises:
            PluginError: there is no such kind.
        """
        if kind not in KINDS:
            raise PluginError(f"no component kind {kind!r}{did_you_mean(kind, KINDS)}; kinds: {', '.join(KINDS)}")
        return [
            Owned(dist=plugin.dist, version=plugin.version, component=component)
            for plugin in self.plugins
            for component in plugin.components.get(KINDS[kind], ())
        ]

    def find(self, kind: str, name: str) -> Owned:
        """The component of this name.

        Raises:
            PluginError: nobody owns the name, or two distributions do and the name is bare.
        """
        owned = self.components(kind)
        matches = [item for item in owned if name in (item.component.name, f"{item.dist}/{item.component.name}")]
        if len(matches) == 1:
            return matches[0]
        if matches:
            choices = ", ".join(f"{item.dist}/{item.component.name}" for item in matches)
            raise PluginError(f"{kind} {name!r} is offered by several plugins: write one of {choices}")
        raise PluginError(self._explain_missing(kind, name, owned))

    def _explain_missing(self, kind: str, name: str, owned: list[Owned]) -> str:
        known = [item.component.name for item in owned]
        message = f"no {kind} {name!r}{did_you_mean(name, known)}; installed: {', '.join(sorted(known)) or 'none'}"
        bare = name.split("/")[-1]
        broken = [plugin for plugin in self.plugins if plugin.error]
        dist = FIRST_PARTY.get(f"{kind} {bare}") or FIRST_PARTY.get(bare)
        if dist and dist not in {plugin.dist for plugin in self.plugins}:
            message += f"; it comes with: pip install {dist}"
        if broken:
            message += f"; broken plugins: {', '.join(plugin.dist for plugin in broken)} (see stlm plugins)"
        return message

    def config_type(self, kind: str, name: str) -> type:
        """The dataclass that configures a component; importing it may import the plugin's heavy modules."""
        owned = self.find(kind, name)
        return _resolve(owned, owned.component.config)

    def factory(self, kind: str, name: str) -> Callable[[Any], Any]:
        """What makes a component from an instance of its config."""
        owned = self.find(kind, name)
        return _resolve(owned, owned.component.factory)

    def build(self, kind: str, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Make a component from plain options.

        Raises:
            ConfigError: an option is unknown or has the wrong type.
            PluginError: the component is missing, ambiguous or broken, or is not what its kind promises.
        """
        owned = self.find(kind, name)
        config = make_config(_resolve(owned, owned.component.config), options or {}, where=f"{kind} {name!r}")
        factory = _resolve(owned, owned.component.factory)
        try:
            built = factory(config)
        except StlmError:
            raise
        except Exception as error:
            raise PluginError(f"{_full_name(owned)} cannot be made: {_line(error)}") from error
        expected = interface_of(kind)
        if not isinstance(built, expected):
            raise PluginError(
                f"{_full_name(owned)}: {owned.component.factory!r} made a {type(built).__name__}, expected a "
                f"{expected.__name__}: the plugin breaks its contract"
            )
        return built


def interface_of(kind: str) -> type:
    """The abstract class that components of a kind implement; named by a rule, so that it is imported only here."""
    name = "".join(part.capitalize() for part in kind.split("_"))
    return getattr(import_module("stlm.interfaces"), {"Backbone": "BackboneLM"}.get(name, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A component by name, with its options: what configurations say and what a task carries to another process."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, kind: str, registry: Registry | None = None) -> Any:
        """Make the component, from all installed plugins or from another registry."""
        return (registry or default_registry()).build(kind, self.name, self.options)


def make_config(kind: type, options: Mapping[str, Any], *, where: str) -> Any:
    """An instance of a config dataclass, with unknown names turned into a suggestion."""
    known = [entry.name for entry in fields(kind)]
    for key in options:
        if key not in known:
            raise ConfigError(f"{where}: unknown option {key!r}{did_you_mean(key, known)}; options: {', '.join(known)}")
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _resolve(owned: Owned, path: str) -> Any:
    module, attribute = path.split(":")
    try:
        with redirect_stdout(sys.stderr):
            return getattr(import_module(module), attribute)
    except StlmError:
        raise
    except Exception as error:
        raise PluginError(f"{_full_name(owned)}: cannot load {path!r}: {_line(error)}") from error


def _full_name(owned: Owned) -> str:
    return f"{owned.dist}/{owned.component.name}"


def _line(error: Exception) -> str:
    """An error of somebody else's in one line."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


@cache
def default_registry() -> Registry:
    """The registry of all installed plugins, loaded once per process."""
    return Registry(load_plugins())
