"""Presets and formats are data that compose; what is wrong with a call is said in one line."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import yaml

from stlm.errors import ConfigError, DataError
from stlm.parts import open_parts
from stlm.plugin import default_registry, make_config
from stlm.preset import presets
from stlm.types import Format

NAMES = ("spiritlm-base", "spiritlm-expressive")
VARIABLE = "SPIRITLM_CHECKPOINTS_DIR"


def format_of(name: str) -> Format:
    file = resources.files("stlm_spiritlm.configs") / "format" / f"{name}.yaml"
    return Format.from_dict(yaml.safe_load(file.read_text()))


def test_the_formats_have_the_official_ids() -> None:
    for name, size in (("spiritlm_base", 32503), ("spiritlm_expressive", 32667)):
        vocabulary = format_of(name).vocabulary
        assert len(vocabulary) == size
        assert vocabulary.id_of("[Text]") == 32000 and vocabulary.id_of("[Speech]") == 32001
        assert vocabulary.show(32002) == "[Hu0]" and vocabulary.show(32502) == "[Hu500]"
    assert (
        vocabulary.show(32503) == "[Pi0]" and vocabulary.show(32567) == "[St0]" and vocabulary.show(32666) == "[St99]"
    )


def test_both_presets_are_found() -> None:
    assert set(NAMES) <= set(presets())


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_a_component_that_takes_its_options(name: str, tmp_path: Path) -> None:
    kinds = {"text": "unit_encoder", "encoders": "unit_encoder", "backbone": "backbone", "vocoder": "vocoder"}
    for role, part in open_parts(name, tmp_path).parts.items():
        kind = kinds[role.split("/")[0]]
        config = make_config(default_registry().config_type(kind, part.name), part.options, where=role)
        assert str(config.path).startswith(str(tmp_path))


def test_the_environment_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert str(tmp_path) in open_parts("spiritlm-base").where


def test_a_preset_without_directory_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=f"--checkpoint DIR .* or set {VARIABLE}"):
        open_parts("spiritlm-base")
    with pytest.raises(DataError, match="no such directory"):
        open_parts("spiritlm-base", "nowhere")


def test_a_mistyped_preset_or_part_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'spiritlm-base'"):
        open_parts("spiritlm-bas", tmp_path)
    with pytest.raises(ConfigError, match=r"no part 'encoders/hubrt'.*did you mean 'encoders.hubert'"):
        open_parts("spiritlm-base", tmp_path, {"encoders.hubrt.precision": "bf16"})


def test_options_reach_their_part_and_a_device_all_that_have_one(tmp_path: Path) -> None:
    parts = open_parts("spiritlm-expressive", tmp_path, {"encoders.hubert.precision": "bf16"}, device="meta")
    assert parts.parts["encoders/hubert"].options["precision"] == "bf16"
    assert "precision" not in parts.parts["encoders/pitch"].options
    for role in ("encoders/hubert", "encoders/pitch", "encoders/style", "vocoder"):
        assert parts.parts[role].options["device"] == "meta"


def test_missing_weights_name_the_file(tmp_path: Path) -> None:
    for role in ("text", "encoders/hubert", "encoders/pitch", "encoders/style", "backbone", "vocoder"):
        with pytest.raises(DataError, match=str(tmp_path)):
            open_parts("spiritlm-expressive", tmp_path).build(role)
