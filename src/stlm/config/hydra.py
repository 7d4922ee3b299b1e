"""Composing configurations: the packaged ``configs/`` tree, those of plugins, and overrides of the command line."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from stlm.config.schema import FROM_INIT
from stlm.errors import ConfigError, did_you_mean
from stlm.plugin import Plugin, config_errors, default_registry, plugin_configs

logger = logging.getLogger(__name__)
T = TypeVar("T")


def config_root() -> Path:
    """Where the packaged configurations are: ``stlm/configs`` of a wheel, or ``configs/`` of an editable checkout."""
    package = Path(str(resources.files("stlm")))
    for candidate in (package / "configs", package.parents[1] / "configs"):
        if (candidate / "train.yaml").exists():
            return candidate
    raise ConfigError(f"the packaged configs are missing (looked in {package / 'configs'}): reinstall stlm")


def load_config(name: str, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Compose ``configs/<name>.yaml`` with overrides into its dataclass.

    Raises:
        ConfigError: an override or a file names an unknown key or choice, or has the wrong type.
    """
    register_plugin_configs()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(config_root()), version_base="1.3"):
            composed = compose(name, overrides=[_admit(item, kind) for item in overrides])
            _leave_out(composed)
            _check_directories(composed, name)
            typed = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), composed))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, name, kind)) from error
    _check_init(overrides, typed)
    return typed  # pyright: ignore[reportReturnType]


def with_folder(overrides: Sequence[str]) -> list[str]:
    """Overrides with ``data=DIR`` written out: the source is a folder of recordings."""
    found: list[str] = []
    for item in overrides:
        key, _, path = item.partition("=")
        found += ["source=folder", f"source.path={path}"] if key == "data" else [item]
    return found


def _leave_out(composed: DictConfig) -> None:
    """Take away ingredients of the mixture that are null, and parts that `init` brings."""
    mixture = composed.get("mixture") or {}
    parts = FROM_INIT if composed.get("init") else ()
    with open_dict(composed):
        for key in [key for key, value in mixture.items() if value is None]:
            del mixture[key]
        for key in parts:
            del composed[key]


def _check_directories(composed: DictConfig, name: str) -> None:
    """Raise ConfigError for directories of `data` that the config refers to and nobody gave; others are not needed."""
    directories = composed.get("data")
    if isinstance(directories, str) and name == "train":
        raise ConfigError(
            f"data={directories} is for recipes; a language model learns from shards: data.speech=DIR and so on"
        )
    if not isinstance(directories, DictConfig):
        return
    used = re.findall(r"\$\{data\.(\w+)\}", OmegaConf.to_yaml(composed))
    if missing := [key for key, path in directories.items() if not path and key in used]:
        raise ConfigError(
            f"{name}: {', '.join(f'data.{key}' for key in missing)} not given, expected directories: add "
            f"{' '.join(f'data.{key}=DIR' for key in missing)}"
        )


def _check_init(overrides: Sequence[str], config: Any) -> None:
    """Refuse options of parts that come from `init`: they would be ignored."""
    if not getattr(config, "init", None):
        return
    for item in overrides:
        if re.split(r"[.=/@]", item.lstrip("+~"))[0] in FROM_INIT:
            raise ConfigError(
                f"{item!r} has no effect beside init={config.init}, which brings {', '.join(FROM_INIT)}: remove one of "
                "the two"
            )


def _admit(override: str, kind: type) -> str:
    """Let an override add keys inside a component's options: which ones exist, the component itself decides later."""
    key, _, value = override.partition("=")
    top = key.partition(".")[0]
    is_open = any(entry.name == top and "dict" in str(entry.type) for entry in fields(kind))
    return f"++{override}" if is_open and ("." in key or value.startswith("{")) else override


def _explain(error: Exception, name: str, kind: type) -> str:
    """One line of a Hydra or OmegaConf error, with a suggestion where a name was mistyped."""
    text = " ".join(str(part) for part in (error, error.__cause__ or "") if part)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    key = re.search(r"[Kk]ey '([^']+)'", text)
    if key:
        full = getattr(error.__cause__ or error, "full_key", None) or key[1]
        return f"{name}: unknown key {full!r}{did_you_mean(str(full).split('.')[-1], _known_keys(kind))}"
    missing = re.search(r"Could not find '([^']+)'", text)
    if missing:
        group, _, choice = missing[1].rpartition("/")
        options = _choices(group)
        return (
            f"no {group or 'config'} {choice!r}{did_you_mean(choice, options)}; choices: {', '.join(options) or 'none'}"
        )
    full = getattr(error, "full_key", None)
    return f"{name}: {f'{full}: ' if full else ''}{line}"


def _known_keys(kind: type) -> list[str]:
    def walk(node: Any) -> Iterator[str]:
        for key, value in node.items_ex(resolve=False):
            yield str(key)
            if isinstance(value, DictConfig) and not OmegaConf.is_missing(node, key) and not value._is_none():
                yield from walk(value)

    return sorted(set(walk(OmegaConf.structured(kind))))


def _choices(group: str) -> list[str]:
    found = {path.stem for path in (config_root() / group).glob("*.yaml")}
    with suppress(OSError, KeyError):
        found |= {name.removesuffix(".yaml") for name in ConfigStore.instance().list(group)}
    return sorted(found)


def register_plugin_configs() -> None:
    """Register each plugin's ``configs/`` package as ``group/dist/name``, and ``group/name`` where one plugin has it.

    Hydra alone would pick one of two equal names silently; here the bare name of a duplicate is left out, so that it
    raises when it is asked for, and a name of the core stays the core's. A file that cannot be read is skipped.
    """
    store = ConfigStore.instance()
    bare: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for plugin in default_registry().plugins:
        for group, name, node in plugin_configs(plugin):
            if problem := _problem(node):
                logger.warning("%s: configs/%s/%s.yaml is left out: %s", plugin.dist, group, name, problem)
                continue
            store.store(group=f"{group}/{plugin.dist}", name=name, node=node, package=group, provider=plugin.dist)
            bare.setdefault((group, name), []).append((plugin.dist, node))
    for (group, name), owners in bare.items():
        if len(owners) == 1 and not (config_root() / group / f"{name}.yaml").exists():
            store.store(group=group, name=name, node=owners[0][1], package=group, provider=owners[0][0])


def unusable_configs(plugin: Plugin) -> list[str]:
    """One line for each config file of a plugin that is left out."""
    found = ((group, name, _problem(node)) for group, name, node in plugin_configs(plugin))
    return [
        *config_errors(plugin),
        *(f"configs/{group}/{name}.yaml: {problem}" for group, name, problem in found if problem),
    ]


def _problem(node: Mapping[str, Any]) -> str:
    """What keeps Hydra from taking a file's content, or nothing."""
    try:
        OmegaConf.create(dict(node))
    except OmegaConfBaseException as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return ""
