"""The presets name parts that exist, with formats that fit them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.parts import open_parts
from stlm.plugin import default_registry
from stlm.system import encode_audio, speak
from stlm.types import Audio

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


def test_their_weights_come_with_them_and_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STLM_TINY", raising=False)
    source = default_registry().build("source", "windtunnel", {"kind": "sentences", "split": "test", "num": 2})
    sounds = [item.audio for item in source.utterances() if isinstance(item.audio, Audio)]
    for name, streams in SYSTEMS.items():
        parts = open_parts(name)
        codec, encoders = parts.build_codec()
        vocoder = parts.build("vocoder")
        assert set(encoders) == set(streams)
        for sound, units in zip(sounds, encode_audio(codec, encoders, sounds), strict=True):
            made = speak(codec, vocoder, (units,), voice="en-us+f2")
            assert abs(made.seconds - sound.seconds) < 0.2
            assert np.abs(made.samples).max() > 0.05


def test_the_weights_are_small_and_nothing_else() -> None:
    folder = resources.files("stlm_tiny") / "weights"
    files = [path for path in Path(str(folder)).rglob("*") if path.is_file()]
    assert 0 < sum(path.stat().st_size for path in files) < 10 * 2**20
    assert {path.suffix for path in files} == {".json", ".yaml", ".safetensors", ".model", ".txt"}


def test_a_checkpoint_goes_before_the_weights_that_come_along(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such directory, expected the checkpoint of tiny-base"):
        open_parts("tiny-base", tmp_path / "nowhere")
    assert str(open_parts("tiny-base", tmp_path).parts["vocoder"].options["path"]).startswith(str(tmp_path))
