"""Composing configurations: every packaged one loads, and every mistake is one clear line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import MISSING as NOTHING
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from stlm.cli import main, plugins
from stlm.config import hydra
from stlm.config.build import build_component, build_format, build_lora, typed_options
from stlm.config.hydra import config_root, load_config
from stlm.config.schema import (
    DemoConfig,
    EvaluateConfig,
    LoraConfig,
    PrepareConfig,
    RecipeConfig,
    ResynthesizeConfig,
    TrainConfig,
)
from stlm.errors import ConfigError, FormatError, PluginError
from stlm.plugin import KINDS, Plugin, Registry, default_registry
from stlm.testing.factories import base_codec
from stlm.testing.fakes import ByteText, EnergyEncoder

ROOTS = {
    "train": (TrainConfig, []),
    "demo": (DemoConfig, []),
    "demo_real": (DemoConfig, []),
    "evaluate": (EvaluateConfig, ["system=x"]),
    "prepare": (PrepareConfig, ["source=folder", "source.path=x", "out=y"]),
    "resynthesize": (ResynthesizeConfig, ["source=windtunnel"]),
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


def test_an_option_of_a_part_that_comes_from_init_is_refused() -> None:
    for item in ("backbone.hidden_size=64", "format=speech_text", "vocoder={name: griffinlim}", "+text_encoder.x=1"):
        with pytest.raises(ConfigError, match="has no effect beside init=RUN"):
            load_config("train", TrainConfig, ["init=RUN", item])
    assert load_config("train", TrainConfig, ["init=RUN", "experiment=windtunnel"]).init == "RUN"


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("train", ["out="], "out is empty"),
        ("recipe", ["recipe=bpe", "source=windtunnel", "out="], "out is empty"),
        (
            "prepare",
            ["source=folder", "source.path=x", "out=y", "group_size=0"],
            "group_size must be at least 1, got 0",
        ),
        ("demo", ["group_size=0"], "group_size must be at least 1"),
    ],
)
def test_values_that_nothing_can_be_made_of_are_refused(name: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(name, ROOTS[name][0], overrides)


def test_the_demo_has_its_defaults_in_one_place() -> None:
    """Where a default stood in the dataclass too, the two would drift apart."""
    for entry in fields(DemoConfig):
        assert entry.default in (MISSING, NOTHING, None), entry.name


class TestPluginConfigs:
    """What a plugin's configs/ package can hold, and what each verb makes of it."""

    FILES: ClassVar[dict[str, str]] = {
        "trainer/default.yaml": "max_steps: soon",
        "trainer/mine.yaml": "max_steps: 7",
        "trainer/oops.yaml": "max_steps: ${oops",
        "trainer/open.yaml": "a: [1",
        "trainer/list.yaml": "- 1",
        "hydra/config.yaml": "a: 1",
    }

    @pytest.fixture
    def plugin(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugin]:
        root = tmp_path / "stlm_messy"
        for name, text in {"__init__.py": "", "configs/__init__.py": "", **self.FILES}.items():
            path = root / (f"configs/{name}" if name in self.FILES else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(ConfigStore.instance(), "repo", deepcopy(ConfigStore.instance().repo))
        made = Plugin(dist="stlm-messy", version="1", module="stlm_messy")
        registry = Registry([*default_registry().plugins, made])
        monkeypatch.setattr(hydra, "default_registry", lambda: registry)
        monkeypatch.setattr(plugins, "default_registry", lambda: registry)
        yield made
        for name in [name for name in sys.modules if name.startswith("stlm_messy")]:
            del sys.modules[name]

    def test_broken_files_stop_no_verb(self, plugin: Plugin) -> None:
        assert load_config("train", TrainConfig, ["trainer=mine"]).trainer.max_steps == 7

    def test_a_name_of_the_core_stays_the_cores(self, plugin: Plugin) -> None:
        assert load_config("train", TrainConfig).trainer.max_steps == 1000
        with pytest.raises(ConfigError, match="max_steps"):
            load_config("train", TrainConfig, ["trainer=stlm-messy/default"])

    def test_they_are_listed_with_what_is_wrong(self, plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
        found = hydra.unusable_configs(plugin)
        assert [line.split(":")[0] for line in found] == [
            f"configs/{name}.yaml" for name in ("hydra/config", "trainer/list", "trainer/open", "trainer/oops")
        ]
        assert not any("\n" in line for line in found)
        assert main(["plugins"]) == 0
        shown = capsys.readouterr().out
        assert "stlm-messy 1  (broken: configs/hydra" in shown and "trainer/oops.yaml: GrammarParseError" in shown
        assert main(["plugins", "doctor"]) == 1


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
