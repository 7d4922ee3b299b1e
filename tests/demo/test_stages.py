"""The demo's units and voice: its own by the recipe, or those of a system."""

from __future__ import annotations

import pytest

from stlm.config.hydra import load_config
from stlm.config.schema import DemoConfig
from stlm.demo.corpus import world
from stlm.demo.stages import speech_parts
from stlm.errors import ConfigError


@pytest.mark.parametrize(
    ("system", "streams"), [("tiny-base", {"hubert"}), ("tiny-expressive", {"hubert", "pitch", "style"})]
)
def test_a_system_brings_its_encoders_voice_and_format(tmp_path, system: str, streams: set[str]) -> None:
    config = load_config("demo", DemoConfig, [f"system={system}", f"checkpoint={tmp_path}"])
    parts = speech_parts(config, world(config), tmp_path)
    assert set(parts.encoders) == streams
    assert parts.vocoder["name"].endswith("hifigan")
    blocks = {block["name"]: block for block in parts.format["blocks"]}
    assert blocks["text"]["size"] == "auto" and streams < set(blocks)
    assert not list(tmp_path.iterdir())  # nothing is trained


def test_a_system_without_a_name_that_is_known_is_refused(tmp_path) -> None:
    config = load_config("demo", DemoConfig, ["system=tiny-bass"])
    with pytest.raises(ConfigError, match="tiny-bass"):
        speech_parts(config, world(config), tmp_path)
