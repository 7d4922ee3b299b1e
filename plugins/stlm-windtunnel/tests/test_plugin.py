"""The plugin declares what exists, cheaply, and its YAML files name the fields of the dataclasses."""

import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import stlm_windtunnel

COMPONENTS = [
    *(("source", component) for component in stlm_windtunnel.stlm_sources()),
    *(("eval_task", component) for component in stlm_windtunnel.stlm_eval_tasks()),
]
CONFIGS = Path(stlm_windtunnel.__file__).parent / "configs"


def _load(path: str):
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize(("group", "component"), COMPONENTS)
def test_the_yaml_holds_the_fields_and_defaults_of_the_config(group, component):
    values = yaml.safe_load((CONFIGS / group / f"{component.name}.yaml").read_text())
    assert values.pop("name") == component.name
    config = _load(component.config)()
    plain = {field.name: getattr(config, field.name) for field in fields(config)}
    assert values == {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


@pytest.mark.parametrize(("group", "component"), COMPONENTS)
def test_factories_build_from_the_default_config(group, component):
    assert _load(component.factory)(_load(component.config)())


def test_every_yaml_has_its_component():
    assert {path.stem for path in CONFIGS.rglob("*.yaml")} == {component.name for _, component in COMPONENTS}


def test_importing_the_plugin_loads_neither_numpy_nor_espeak():
    code = "import sys, stlm_windtunnel; print([m for m in ('numpy', 'torch', 'espeakng_loader') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_the_benchmark_prints_a_row_for_every_kind_and_style():
    script = Path(__file__).parents[1] / "benchmarks" / "speed.py"
    out = subprocess.run([sys.executable, script, "--num", "1"], capture_output=True, text=True, check=True).stdout
    assert len(out.splitlines()) == 9
