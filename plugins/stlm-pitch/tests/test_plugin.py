"""The plugin's door: light to import, everything it names exists, configs match their dataclasses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import MISSING, fields
from importlib import import_module, resources

import pytest
import yaml

import stlm_pitch
from stlm.plugin import Component

COMPONENTS = {
    "unit_encoder": stlm_pitch.stlm_unit_encoders(),
    "f0_extractor": stlm_pitch.stlm_f0_extractors(),
}
EVERY = [(kind, component) for kind, found in COMPONENTS.items() for component in found]


def test_import_loads_no_torch() -> None:
    code = "import stlm_pitch, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("kind", "component"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_the_config_file_has_the_defaults_of_the_dataclass(kind: str, component: Component) -> None:
    file = resources.files("stlm_pitch.configs") / kind / f"{component.name}.yaml"
    options = yaml.safe_load(file.read_text())
    assert options.pop("name") == component.name
    module, attribute = component.config.split(":")
    defaults = {
        field.name: field.default if field.default is not MISSING else field.default_factory()
        for field in fields(getattr(import_module(module), attribute))
    }
    assert set(options) == set(defaults)
    for key, value in options.items():
        expected = list(defaults[key]) if isinstance(defaults[key], tuple) else defaults[key]
        assert value in ("???", expected), key


@pytest.mark.parametrize(("kind", "component"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_the_factory_exists(kind: str, component: Component) -> None:
    module, attribute = component.factory.split(":")
    assert callable(getattr(import_module(module), attribute))
