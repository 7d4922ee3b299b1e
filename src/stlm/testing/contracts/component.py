"""What every component owes the plugin door: a light module, a config that round-trips."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf

from stlm.plugin import default_registry, make_config
from stlm.testing.imports import assert_light


class ComponentContract:
    """Laws of the registration, part of every contract; they exist only where `component` is set.

    Set ``component = "name"`` to the name under which the installed plugin offers it, and ``config_options`` if its
    config has fields without default.
    """

    kind: ClassVar[str] = ""
    component: ClassVar[str | None] = None
    config_options: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, law in vars(ComponentContract).items():
            if name.startswith("test_"):
                setattr(cls, name, law if cls.component else None)

    def test_declaring_it_loads_no_torch(self) -> None:
        owner = next(
            plugin
            for plugin in default_registry().plugins
            if plugin.dist == default_registry().find(self.kind, self._name()).dist
        )
        assert owner.module is not None
        assert_light(owner.module)

    def test_its_config_survives_a_round_trip_through_yaml(self) -> None:
        kind, config = self._config()
        assert is_dataclass(kind), f"{kind!r} must be a dataclass"
        composed = OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.create(OmegaConf.to_yaml(config)))
        plain = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(plain, dict)
        values = {str(key): tuple(value) if isinstance(value, list) else value for key, value in plain.items()}
        assert make_config(kind, values, where=self._name()) == config

    def test_its_config_pickles(self) -> None:
        _, config = self._config()
        assert pickle.loads(pickle.dumps(config)) == config

    def test_its_config_is_frozen(self) -> None:
        _, config = self._config()
        with pytest.raises(AttributeError):
            setattr(config, next((entry.name for entry in fields(config)), "any_field"), None)

    def test_its_factory_can_be_imported(self) -> None:
        component = default_registry().find(self.kind, self._name()).component
        module, attribute = component.factory.split(":")
        assert callable(getattr(__import__(module, fromlist=[attribute]), attribute))

    def _name(self) -> str:
        assert self.component is not None
        return self.component

    def _config(self) -> tuple[type, Any]:
        kind = default_registry().config_type(self.kind, self._name())
        return kind, make_config(kind, self.config_options, where=self._name())
