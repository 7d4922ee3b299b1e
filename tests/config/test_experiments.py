"""Every experiment composes, says what it needs, and trains two steps on the wind tunnel with a tiny backbone."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from stlm.config.build import as_plain, build_choice, build_format
from stlm.config.hydra import config_root, load_config
from stlm.config.run import run_recipe, train
from stlm.config.schema import TrainConfig
from stlm.errors import ConfigError
from stlm.parts import open_parts
from stlm.plugin import Choice
from stlm.prepare import LocalRunner, ShardTask, prepare
from stlm.testing.factories import EXPRESSIVE_STREAMS
from stlm.types import Format

FILES = {path.stem: path for path in sorted((config_root() / "experiment").glob("*.yaml"))}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "experiments.md"
GIVEN = [f"data.{name}={name}" for name in ("speech", "text", "paired", "units")]
HEADER = ("stlm train experiment=", "Hardware: ", "Expect: ", "Time: ")
TINY_BACKBONE = [
    "backbone=llama", "backbone.hidden_size=32", "backbone.num_layers=1", "backbone.num_heads=2",
    "backbone.intermediate_size=64",
]  # fmt: skip
TINY_MACHINE = [
    "trainer.accelerator=cpu", "trainer.devices=1", "trainer.strategy=auto", "trainer.precision=32-true",
    "trainer.max_steps=2", "trainer.batch_rows=2", "trainer.progress=false", "trainer.report_every=1",
    "trainer.loggers=[csv]",
    "feed.length=256", "feed.rows=1", "feed.num_streams=1", "feed.num_workers=0",
]  # fmt: skip


def header(name: str) -> list[str]:
    """The lines of a file's first comment, without those that go on from the line before."""
    lines = FILES[name].read_text().splitlines()[1:]
    comment = lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))]
    return [line.removeprefix("# ") for line in comment if not line.startswith("#   ")]


@pytest.mark.parametrize("name", FILES)
def test_every_experiment_opens_with_command_hardware_metric_and_time(name: str) -> None:
    assert FILES[name].read_text().startswith("# @package _global_\n")
    assert [line.startswith(start) for line, start in zip(header(name), HEADER, strict=False)] == [True] * len(HEADER)
    assert f"experiment={name} " in header(name)[0]


@pytest.mark.parametrize("name", FILES)
def test_the_command_of_an_experiment_names_the_directories_that_it_reads(name: str) -> None:
    assert re.findall(r"data\.(\w+)=DIR", header(name)[0]) == missing([f"experiment={name}"])


def missing(overrides: list[str]) -> list[str]:
    """Which directories a configuration says that it lacks."""
    try:
        load_config("train", TrainConfig, overrides)
    except ConfigError as error:
        return re.findall(r"data\.(\w+)=DIR", str(error))
    return []


def test_all_missing_directories_are_named_at_once_and_no_others() -> None:
    with pytest.raises(ConfigError, match=r"data.text, data.units not given.*: add data.text=DIR data.units=DIR$"):
        load_config("train", TrainConfig, ["experiment=text_only"])


def test_the_folder_of_a_recipe_is_no_experiments_data() -> None:
    with pytest.raises(ConfigError, match=r"^data=DIR is for recipes.*data.speech=DIR"):
        load_config("train", TrainConfig, ["experiment=text_only", "data=DIR"])


def test_parts_that_init_brings_need_no_directory() -> None:
    config = load_config("train", TrainConfig, ["experiment=text_only", "init=RUN", "data.text=DIR"])
    assert config.unit_encoders == {} and config.mixture["text"].shards == "DIR"


def test_an_ingredient_that_is_null_is_left_out() -> None:
    without = load_config("train", TrainConfig, ["experiment=spiritlm_base_7b", *GIVEN, "mixture.text=null"])
    assert list(composed("spiritlm_base_7b").mixture) == ["speech", "text", "interleaved"]
    assert list(without.mixture) == ["speech", "interleaved"]


@cache
def composed(name: str) -> TrainConfig:
    """An experiment with the names of the directories in their place."""
    return load_config("train", TrainConfig, [f"experiment={name}", *GIVEN])


@pytest.mark.parametrize("name", FILES)
def test_every_value_of_an_experiment_stands_in_the_composed_config(name: str) -> None:
    wanted = yaml.safe_load(re.sub(r"\$\{data\.(\w+)\}", r"\1", FILES[name].read_text()))
    wanted.pop("defaults", None)

    def differing(wanted: Any, got: Any) -> Any:
        if not isinstance(wanted, dict) or not isinstance(got, dict):
            return [] if wanted == got else [(wanted, got)]
        return [item for key, value in wanted.items() for item in differing(value, got.get(key))]

    assert differing(wanted, as_plain(composed(name))) == []


@pytest.mark.parametrize("name", FILES)
def test_every_part_of_an_experiment_is_a_component_with_known_options(name: str) -> None:
    config = composed(name)
    for options in (config.text_encoder, *config.unit_encoders.values()):
        assert build_choice("unit_encoder", options).options["path"]
    assert build_choice("backbone", config.backbone)
    for item in config.mixture.values():
        assert build_choice("interleaver", item.interleaver)


@pytest.mark.parametrize("name", ["base", "expressive"])
def test_with_official_parts_the_format_is_the_official_one(name: str) -> None:
    ours = load_config("train", TrainConfig, [f"format=spirit_{name}"]).format
    text: Any = SimpleNamespace(vocab_size=32000)
    built = build_format(ours, text, {spec.name: spec for spec in EXPRESSIVE_STREAMS})
    official = Format.from_dict(load_config("train", TrainConfig, [f"format=spiritlm_{name}"]).format)
    assert built.vocabulary.sha256 == official.vocabulary.sha256
    assert built.sha256 == official.sha256


def test_task_markers_stand_behind_all_ids_of_base() -> None:
    text: Any = SimpleNamespace(vocab_size=32000)
    base, tasks = (
        build_format(config.format, text, {spec.name: spec for spec in EXPRESSIVE_STREAMS})
        for config in (load_config("train", TrainConfig, [f"format=spirit_base{end}"]) for end in ("", "_tasks"))
    )
    assert tasks.vocabulary.extends(base.vocabulary)
    assert [tasks.vocabulary.id_of(marker) for marker in ("[ASR]", "[TTS]")] == [32503, 32504]


def test_the_page_lists_every_experiment_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)`", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(FILES)


@dataclass(frozen=True)
class World:
    """Small shards of the wind tunnel with all streams, and what made them."""

    text: Path
    speech: Path
    encoders: Mapping[str, Choice]
    tokenizer: str

    def overrides(self, config: TrainConfig, out: Path) -> list[str]:
        """Paths for what a configuration reads, as a user gives them."""
        encoders = [
            f"unit_encoders.{stream}={{name: {self.encoders[stream].name}, path: {self.path(stream)}}}"
            for stream in config.unit_encoders
        ]
        paths = [f"data.speech={self.speech}", f"data.paired={self.speech}", f"data.text={self.text}"]
        return [*paths, *encoders, f"text_encoder={{name: sentencepiece, path: {self.tokenizer}}}", f"out={out}"]

    def path(self, stream: str) -> str:
        return str(self.encoders[stream].options["path"])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    source = {"name": "windtunnel", "num": 8}
    run_recipe({"name": "logmel_kmeans", "num_units": 16}, {**source, "num": 2}, root / "logmel")
    parts = open_parts("tiny-expressive").parts
    encoders = {role.partition("/")[2]: part for role, part in parts.items() if role.startswith("encoders/")}
    encoders["logmel"] = Choice(name="logmel", options={"path": str(root / "logmel")})
    write(root / "speech", source, encoders)
    write(root / "text", {**source, "modality": "text"}, {})
    return World(root / "text", root / "speech", encoders, str(parts["text"].options["path"]))


def write(out: Path, source: Mapping[str, Any], encoders: Mapping[str, Choice]) -> None:
    chosen = build_choice("source", source)
    task = ShardTask(source=chosen, encoders=[*encoders.values()], out=out, shard=0, num_shards=1, group_size=4)
    prepare(task, LocalRunner(1), label=out.name)


def windtunnel_paths(world: World) -> list[str]:
    """For the one experiment that names its directories itself."""
    shards = {"speech": world.speech, "text": world.text, "interleaved": world.speech}
    vocoder = f"vocoder={{name: griffinlim, path: {world.path('logmel')}}}"
    return [*(f"mixture.{name}.shards={path}" for name, path in shards.items()), vocoder]


@pytest.mark.parametrize("name", FILES)
def test_every_experiment_trains_two_steps_with_a_tiny_backbone(name: str, world: World, tmp_path: Path) -> None:
    paths = world.overrides(composed(name), tmp_path / "run")
    own = windtunnel_paths(world) if name == "windtunnel" else []
    overrides = [f"experiment={name}", *TINY_BACKBONE, *TINY_MACHINE, *paths, *own]
    config = load_config("train", TrainConfig, overrides)
    report = train(config)
    assert [row["step"] for row in report.history] == [1, 2]
    assert all(math.isfinite(row["loss"]) for row in report.history)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(run["streams"]) == set(config.unit_encoders)
    # a format may have a lone space before every document, which counts as text
    assert [name for name in ("text", "speech") if report.tokens_seen[name] > 20] == modalities(config)


def modalities(config: TrainConfig) -> list[str]:
    """What the mixture brings: one modality of unimodal ingredients, both of all others."""
    found = {item.interleaver.get("modality", "both") for item in config.mixture.values()}
    return [name for name in ("text", "speech") if found & {name, "both"}]
