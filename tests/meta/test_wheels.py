"""What users install: wheels with code, configurations and entry points, in an environment of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT, *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))]
BUILD = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every project's wheel by its name, built from a copy, without network."""
    work = tmp_path_factory.mktemp("wheels")
    found = {}
    for project in PROJECTS:
        name = "stlm" if project == ROOT else project.name
        source = work / f"{name}-source"
        ignore = shutil.ignore_patterns(".*", "runs", "plugins", "tests", "__pycache__", "build", "dist", "site")
        shutil.copytree(project, source, ignore=ignore)
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(work)], cwd=source, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        found[name] = work / done.stdout.split()[-1]
    return found


@pytest.fixture(scope="module")
def python(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheels; third-party libraries come from this one."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python*")) / "site-packages"
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n")
    return home / "bin" / "python"


def ask(python: Path, program: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", program], env=environment, capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_core_ships_its_configurations_and_nothing_of_the_repository(wheels: dict[str, Path]) -> None:
    inside = names(wheels["stlm"])
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml")}
    assert shipped and {f"stlm/{name}" for name in shipped} <= inside
    assert "stlm/testing/contracts/__init__.py" in inside, "plugin authors need the contracts"
    tops = {name.split("/")[0] for name in inside}
    assert tops == {"stlm", next(name for name in tops if name.endswith(".dist-info"))}


def test_wheels_say_that_they_are_typed(wheels: dict[str, Path]) -> None:
    """The classifier "Typing :: Typed" is a promise; without the marker type checkers ignore all annotations."""
    assert "stlm/py.typed" in names(wheels["stlm"])


def test_plugins_ship_their_configurations(wheels: dict[str, Path]) -> None:
    for project in PROJECTS[1:]:
        package = project / "src"
        shipped = {str(path.relative_to(package)) for path in package.rglob("*.yaml")}
        assert shipped <= names(wheels[project.name]), project.name


def test_an_installation_finds_its_code_configurations_and_plugins(python: Path) -> None:
    program = (
        "import json, stlm, stlm.testing.contracts; from stlm.config.hydra import config_root;"
        "from stlm.plugin import default_registry as r; from stlm.plugin.doctor import diagnose;"
        "print(json.dumps([stlm.__file__, str(config_root()),"
        " sorted(p.dist for p in r().plugins if p.error is None), diagnose(r())]))"
    )
    code, configs, plugins, problems = json.loads(ask(python, program))
    home = str(python.parents[1])
    assert code.startswith(home) and configs.startswith(home)
    assert set(plugins) >= {"stlm" if project == ROOT else project.name for project in PROJECTS}
    assert problems == []


def test_the_command_answers(python: Path) -> None:
    answer = ask(python, "import sys; from stlm.cli import main; sys.exit(main(['plugins']))")
    assert "(healthy)" in answer and "broken" not in answer
    scripts = ask(
        python,
        "from importlib.metadata import entry_points as e;"
        "print([p.value for p in e(group='console_scripts', name='stlm')])",
    )
    assert "stlm.cli:main" in scripts


def test_every_configuration_can_be_composed_from_the_installation(python: Path) -> None:
    program = (
        "from stlm.config.hydra import config_root, load_config; from stlm.config.schema import TrainConfig;"
        "c = load_config('train', TrainConfig, []); print(type(c).__name__)"
    )
    assert ask(python, program).split()[-1] == "TrainConfig"
