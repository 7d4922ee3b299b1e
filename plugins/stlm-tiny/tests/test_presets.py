"""The presets name parts that exist, with formats that fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.errors import ConfigError
from stlm.parts import open_parts
from stlm.plugin import default_registry

SYSTEMS = {"tiny-base": ("hubert",), "tiny-expressive": ("style", "pitch", "hubert")}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_part_is_a_component_and_every_stream_has_its_encoder(name: str, tmp_path: Path) -> None:
    parts = open_parts(name, tmp_path)
    assert tuple(parts.format.layout("default").stream_names) == SYSTEMS[name]
    assert {role for role in parts.parts if role.startswith("encoders/")} == {f"encoders/{s}" for s in SYSTEMS[name]}
    kinds = {"text": "unit_encoder", "vocoder": "vocoder"}
    for role, part in parts.parts.items():
        assert default_registry().find(kinds.get(role, "unit_encoder"), part.name)
        assert str(part.options["path"]).startswith(str(tmp_path))


@pytest.mark.parametrize("name", SYSTEMS)
def test_there_is_no_language_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no backbone"):
        open_parts(name, tmp_path).build("backbone")


def test_the_weights_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STLM_TINY", raising=False)
    with pytest.raises(ConfigError, match=r"--checkpoint DIR .* or set STLM_TINY"):
        open_parts("tiny-base")
