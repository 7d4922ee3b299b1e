"""Composing configurations: every packaged one loads, and every mistake is one clear line."""

from __future__ import annotations

import pytest
import yaml

from stlm.config.build import build_component, build_format, build_lora, typed_options
from stlm.config.hydra import config_root, load_config
from stlm.config.schema import DemoConfig, EvaluateConfig, LoraConfig, PrepareConfig, RecipeConfig, TrainConfig
from stlm.errors import ConfigError, FormatError, PluginError
from stlm.plugin import KINDS, default_registry
from stlm.testing.factories import base_codec
from stlm.testing.fakes import ByteText, EnergyEncoder

ROOTS = {
    "train": (TrainConfig, []),
    "demo": (DemoConfig, []),
    "demo_real": (DemoConfig, []),
    "evaluate": (EvaluateConfig, ["system=x"]),
    "prepare": (PrepareConfig, ["source=folder", "source.path=x", "out=y"]),
    "recipe": (RecipeConfig, ["recipe=bpe", "source=windtunnel", "out=y"]),
}


@pytest.mark.parametrize("name", ROOTS)
def test_every_root_config_composes(name: str) -> None:
    kind, overrides = ROOTS[name]
    assert isinstance(load_config(name, kind, overrides), kind)


def test_no_root_config_is_left_out_here() -> None:
    assert {path.stem for path in config_root().glob("*.yaml")} == set(ROOTS)


def test_every_component_config_of_core_and_plugins_has_only_known_options() -> None:
    registry = default_registry()
    for kind in KINDS:
        for item in registry.components(kind):
            name = f"{item.dist}/{item.component.name}"
            assert registry.config_type(kind, name), name
    for path in config_root().glob("*/*.yaml"):
        if path.parent.name in KINDS:
            options = {key: value for key, value in yaml.safe_load(path.read_text()).items() if value != "???"}
            kind = registry.config_type(path.parent.name, options.pop("name"))
            typed_options(kind, options, where=str(path))


def test_typo_in_an_override_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"speech_storys.*did you mean 'speech_stories'"):
        load_config("demo", DemoConfig, ["speech_storys=3"])


def test_nested_typo_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'max_steps'"):
        load_config("train", TrainConfig, ["trainer.max_step=3"])


def test_wrong_type_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"minutes.*(float|soon)"):
        load_config("demo", DemoConfig, ["minutes=soon"])


def test_unknown_choice_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"(?s)no source 'foldr'.*did you mean 'folder'"):
        load_config("prepare", PrepareConfig, ["source=foldr", "out=x"])


def test_plugin_configs_have_a_bare_and_a_qualified_name() -> None:
    bare = load_config("recipe", RecipeConfig, ["recipe=logmel_kmeans", "source=windtunnel", "out=x"])
    full = load_config("recipe", RecipeConfig, ["recipe=stlm-logmel/logmel_kmeans", "source=windtunnel", "out=x"])
    assert bare.recipe == full.recipe
    assert bare.recipe["name"] == "logmel_kmeans"


def test_unknown_option_of_a_component_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'speach_share'.*did you mean 'speech_share'"):
        build_component("interleaver", {"name": "sentence", "speach_share": 0.3})


def test_option_of_the_wrong_type_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ConfigError, match="speech_share"):
        build_component("interleaver", {"name": "sentence", "speech_share": "half"})


def test_component_without_a_name_says_how_to_choose_one() -> None:
    with pytest.raises(ConfigError, match="choose one"):
        build_component("interleaver", {})
    with pytest.raises(PluginError, match="did you mean 'sentence'"):
        build_component("interleaver", {"name": "sentense"})


def test_auto_sizes_come_from_tokenizer_and_encoder() -> None:
    encoder = EnergyEncoder()
    config = {
        "blocks": [
            {"name": "text", "size": "auto"},
            {"name": "markers", "symbols": ["[Text]", "[Speech]"]},
            {"name": "energy", "size": "auto"},
        ],
        "layouts": {"default": [{"stream": "energy", "rate_hz": 50.0, "anchor": True}]},
    }
    format = build_format(config, ByteText(), {"energy": encoder.spec})
    assert format.vocabulary.block("text").size == ByteText().vocab_size
    assert format.vocabulary.block("energy").size == encoder.spec.codebook_sizes[0]
    with pytest.raises(FormatError, match="no encoder makes stream 'energy'"):
        build_format(config, ByteText(), {})


def test_lora_rows_are_the_ids_of_the_named_blocks() -> None:
    codec = base_codec()
    start = codec.format.vocabulary.offset("markers")
    size = codec.format.vocabulary.block("markers").num_ids
    options = build_lora(LoraConfig(trained_rows=["markers"]), codec)
    assert options.trained_rows == tuple(range(start, start + size))
    with pytest.raises(FormatError, match="did you mean 'markers'"):
        build_lora(LoraConfig(trained_rows=["marker"]), codec)


def test_options_of_a_component_can_be_given_on_the_command_line() -> None:
    overrides = ["text_encoder={name: sentencepiece, path: x}", "mixture.speech.shards=DIR", "backbone.hidden_size=32"]
    config = load_config("train", TrainConfig, overrides)
    assert config.text_encoder == {"name": "sentencepiece", "path": "x"}
    assert config.mixture["speech"].shards == "DIR" and config.backbone["hidden_size"] == 32


def test_a_typo_inside_the_mixture_is_still_refused() -> None:
    with pytest.raises(ConfigError, match="weigth"):
        load_config("train", TrainConfig, ["mixture.speech.shards=DIR", "mixture.speech.weigth=2"])
