"""What every plugin's door must be: light to import, all that it names exists, its YAML files say the defaults."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib import import_module, resources
from typing import ClassVar

import yaml

from stlm.plugin import KINDS, Component


class PluginDoor:
    """Subclass with the plugin's import name in ``module``."""

    module: ClassVar[str]

    def components(self) -> Iterator[tuple[str, Component]]:
        """Kind and component of everything that the plugin's hooks name."""
        plugin = import_module(self.module)
        for kind, hook in KINDS.items():
            if hasattr(plugin, hook):
                yield from ((kind, component) for component in getattr(plugin, hook)())

    def test_import_loads_no_torch(self) -> None:
        code = f"import {self.module}, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_the_config_files_have_the_defaults_of_the_dataclasses(self) -> None:
        found = list(self.components())
        assert found
        for kind, component in found:
            file = resources.files(f"{self.module}.configs") / kind / f"{component.name}.yaml"
            options = yaml.safe_load(file.read_text())
            assert options.pop("name") == component.name
            module, attribute = component.config.split(":")
            defaults = {
                field.name: field.default if field.default_factory is MISSING else field.default_factory()
                for field in fields(getattr(import_module(module), attribute))
            }
            assert set(options) == set(defaults), component.name
            for key, value in options.items():
                expected = list(defaults[key]) if isinstance(defaults[key], tuple) else defaults[key]
                assert value in ("???", expected), f"{component.name}.{key}"

    def test_the_factories_exist(self) -> None:
        for _, component in self.components():
            module, attribute = component.factory.split(":")
            assert callable(getattr(import_module(module), attribute)), component.name
