"""A system is named before it is loaded: run directories and presets, with options changed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.checkpoint import run_parts, save_system
from stlm.errors import ConfigError, DataError
from stlm.parts import open_parts
from stlm.testing.factories import tiny_system
from stlm.testing.plugin import fake_registry

COMPONENTS = {
    "text": "stlm-fakes/bytes",
    "encoders/energy": "stlm-fakes/energy",
    "backbone": "stlm-fakes/tiny",
    "vocoder": "stlm-fakes/tone",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tiny_system()
    made.components = dict(COMPONENTS)
    save_system(made, tmp_path / "run")
    return tmp_path / "run"


def test_parts_of_a_run_are_built_one_by_one(run: Path) -> None:
    parts = run_parts(run)
    assert parts.components == COMPONENTS
    for name in ("backbone", "vocoder"):
        (run / name).rename(run / f"no-{name}")
    codec, encoders = parts.build_codec(fake_registry())
    assert set(encoders) == {"energy"} and codec.format == parts.format


def test_options_change_one_part_only(run: Path) -> None:
    parts = run_parts(run).having({"encoders.energy.levels": 4})
    assert parts.parts["encoders/energy"].options["levels"] == 4
    assert "levels" not in parts.parts["vocoder"].options
    with pytest.raises(ConfigError, match=r"no part 'vocodr' in 'vocodr.path' \(did you mean 'vocoder'\?\)"):
        run_parts(run).having({"vocodr.path": "x"})


def test_a_part_that_is_not_there_is_named(run: Path) -> None:
    parts = run_parts(run)
    without = {role: choice for role, choice in parts.parts.items() if role != "vocoder"}
    silent = type(parts)(where=parts.where, format=parts.format, parts=without)
    assert silent.build_vocoder() is None
    with pytest.raises(ConfigError, match="has no vocoder, only text, encoders/energy, backbone"):
        silent.build("vocoder")


def test_a_run_directory_takes_no_checkpoint(run: Path) -> None:
    with pytest.raises(ConfigError, match="is a run directory and holds its own weights"):
        open_parts(run, checkpoint=run)


def test_what_is_neither_run_nor_preset_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run directory"):
        open_parts(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no preset 'nobody'"):
        open_parts("nobody", checkpoint=tmp_path)
