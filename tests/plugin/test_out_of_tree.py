"""Somebody else's plugin: built, installed, found and tested without a change to stlm; a broken one beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "tests" / "fixtures" / "out_of_tree_plugin"
STLM = "import sys; from stlm.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the plugin's wheel, unpacked as an installer does; needs no network."""
    work = tmp_path_factory.mktemp("plugin")
    source, target = work / "source", work / "site"
    shutil.copytree(PLUGIN, source)
    build = "import hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {build}", str(work)],
        cwd=source,
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(work / done.stdout.split()[-1]) as wheel:
        wheel.extractall(target)
    return target


def run(arguments: list[str], *paths: Path) -> subprocess.CompletedProcess[str]:
    """Python with the paths of this process and some before them."""
    path = os.pathsep.join([*map(str, paths), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )


def stlm(*arguments: str, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    return run(["-c", STLM, *arguments], *paths)


def test_an_installed_plugin_is_found_by_name(site: Path) -> None:
    listed = stlm("plugins", "--json", paths=(site,))
    assert listed.returncode == 0, listed.stderr
    found = {plugin["dist"]: plugin for plugin in json.loads(listed.stdout)}
    assert found["stlm-example"]["version"] == "0.3.0" and found["stlm-example"]["error"] is None
    assert set(found["stlm-example"]["components"]) == {"stlm_unit_encoders", "stlm_interleavers"}
    assert "stlm" in found


def test_its_components_are_built_by_the_registry(site: Path) -> None:
    program = (
        "from stlm.plugin import default_registry as r;"
        "e = r().build('unit_encoder', 'zero_crossings', {'units': 9});"
        "i = r().build('interleaver', 'stlm-example/every_other_word');"
        "print(e.spec.codebook_sizes, type(i).__name__)"
    )
    done = run(["-c", program], site)
    assert done.stdout.strip() == "(9,) EveryOtherWord", done.stderr


def test_its_own_tests_run_the_contracts(site: Path) -> None:
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(PLUGIN / "tests")], site)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout


def broken_plugin(root: Path) -> Path:
    info = root / "stlm_broken-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stlm-broken\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[stlm]\nstlm-broken = stlm_broken\n")
    (root / "stlm_broken.py").write_text("raise RuntimeError('written for another version')\n")
    return root


def test_a_broken_plugin_does_not_stop_the_program(site: Path, tmp_path: Path) -> None:
    paths = (broken_plugin(tmp_path), site)
    helped = stlm("--help", paths=paths)
    assert helped.returncode == 0 and "plugins" in helped.stdout
    listed = stlm("plugins", paths=paths)
    assert listed.returncode == 0, listed.stderr
    assert "stlm-broken 0.1  (broken: RuntimeError: written for another version)" in listed.stdout
    assert "stlm-example 0.3.0  (healthy)" in listed.stdout


@pytest.mark.slow
def test_the_doctor_reports_it_and_fails(tmp_path: Path) -> None:
    told = stlm("plugins", "doctor", paths=(broken_plugin(tmp_path),))
    assert told.returncode == 1 and "stlm-broken: RuntimeError: written for another version" in told.stdout
