"""Training by a config: what is in the way is not replaced, and what does not fit is one clear line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from stlm.checkpoint import save_system
from stlm.config import build, run
from stlm.config.run import run_recipe, train
from stlm.config.schema import (
    FeedConfig,
    LoraConfig,
    MixtureSource,
    StageConfig,
    TrainConfig,
    TrainerConfig,
    TuningConfig,
)
from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces.backbone import AdaptableBackbone
from stlm.interfaces.recipe import Recipe
from stlm.interfaces.unit_encoder import SpeechUnitEncoder, TextUnitEncoder
from stlm.learn.training import CHECKPOINT
from stlm.plugin import Registry
from stlm.testing.factories import make_corpus, tiny_system, write_shards
from stlm.testing.plugin import fake_registry
from stlm.testing.tiny_backbone import TinyBackbone
from stlm.types import Utterance

SOURCE = {"name": "corpus", "num": 3}


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = fake_registry()
    monkeypatch.setattr(build, "default_registry", lambda: registry)
    return registry


def test_a_recipe_leaves_alone_what_it_did_not_make(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a.wav").write_bytes(b"once in a lifetime")
    with pytest.raises(DataError, match=r"precious holds 'a.wav', which no recipe made: choose another out"):
        run_recipe({"name": "count"}, SOURCE, precious)
    with pytest.raises(DataError, match="expected a directory"):
        run_recipe({"name": "count"}, SOURCE, precious / "a.wav")
    assert [path.name for path in precious.iterdir()] == ["a.wav"]


def test_a_recipe_replaces_its_own_output_and_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new", tmp_path / "new", tmp_path / "empty"):
        run_recipe({"name": "count"}, SOURCE, out)
        assert json.loads((out / "run.json").read_text())["recipe"] == {"name": "count"}


class Interrupted(Recipe):
    """Leaves a checkpoint and stops, the first time; then says what it went on from."""

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        kept = out / CHECKPOINT
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            kept.write_text("step 5")
            raise KeyboardInterrupt
        (out / "part.txt").write_text(kept.read_text())


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A training that was stopped after its first checkpoint."""
    make = build.build_component
    kinds = {"recipe": lambda config: Interrupted()}
    monkeypatch.setattr(run, "build_component", lambda kind, config: kinds.get(kind, lambda c: make(kind, c))(config))
    with pytest.raises(KeyboardInterrupt):
        run_recipe({"name": "slow", "steps": 9}, SOURCE, tmp_path / "out")
    return tmp_path / "out"


def test_an_interrupted_training_goes_on_where_it_was(interrupted: Path) -> None:
    run_recipe({"name": "slow", "steps": 9}, SOURCE, interrupted, resume=True)
    assert (interrupted / "part.txt").read_text() == "step 5"
    assert sorted(path.name for path in interrupted.iterdir()) == ["part.txt", "run.json"]


def test_an_interrupted_training_is_not_lost_unasked(interrupted: Path) -> None:
    with pytest.raises(DataError, match=r"\.out\.partial holds an interrupted training: go on with it by resume=true"):
        run_recipe({"name": "slow", "steps": 9}, SOURCE, interrupted, overwrite=False)
    with pytest.raises(KeyboardInterrupt):
        run_recipe({"name": "slow", "steps": 9}, SOURCE, interrupted, overwrite=True)


def test_a_training_resumes_only_with_its_own_options(interrupted: Path) -> None:
    with pytest.raises(ConfigError, match=r"steps.*resumes only with the options that it began with"):
        run_recipe({"name": "slow", "steps": 8}, SOURCE, interrupted, resume=True)


def test_nothing_to_resume_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to resume from"):
        run_recipe({"name": "count"}, SOURCE, tmp_path / "new", resume=True)


def test_a_trained_part_is_not_replaced_unasked(tmp_path: Path) -> None:
    run_recipe({"name": "count"}, SOURCE, tmp_path / "new", overwrite=False)
    with pytest.raises(DataError, match="holds a trained part already: replace it by overwrite=true"):
        run_recipe({"name": "count"}, SOURCE, tmp_path / "new", overwrite=False)


@pytest.mark.parametrize("out", ["data", ".", "data/inner/.."])
def test_a_recipe_does_not_write_over_its_source(tmp_path: Path, out: str) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match="is or holds the source's path"):
        run_recipe({"name": "count"}, {"name": "folder", "path": str(tmp_path / "data")}, tmp_path / out)


def test_an_encoder_of_the_other_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^unit_encoders.x: 'bytes' is a ByteText, expected a SpeechUnitEncoder$"):
        build.build_encoder("unit_encoders.x", {"name": "bytes"}, SpeechUnitEncoder)
    with pytest.raises(ConfigError, match=r"^text_encoder: 'energy' is a EnergyEncoder, expected a TextUnitEncoder$"):
        build.build_encoder("text_encoder", {"name": "energy"}, TextUnitEncoder)


@pytest.fixture
def plan(tmp_path: Path) -> TrainConfig:
    system = tiny_system()
    write_shards(tmp_path / "shards", make_corpus(12, streams=tuple(system.codec.streams.values())))
    mixture = {"speech": MixtureSource(shards=str(tmp_path / "shards"), interleaver={"name": "unimodal"})}
    return TrainConfig(
        out=str(tmp_path / "run"),
        mixture=mixture,
        feed=FeedConfig(length=64, rows=2, pool=4),
        optimizer={"_target_": "torch.optim.AdamW", "lr": 1e-3},
        trainer=TrainerConfig(max_steps=2, precision="32-true", accelerator="cpu", progress=False),
    )


def change(config: TrainConfig, key: str, value: Any) -> TrainConfig:
    head, _, tail = key.partition(".")
    node = getattr(config, head)
    if not tail:
        setattr(config, head, value)
    elif isinstance(node, dict):
        node[tail] = value
    else:
        setattr(node, tail, value)
    return config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("feed.rows", 0, "feed: rows must be at least 1, got 0"),
        ("feed.rows", -1, "feed: rows"),
        ("feed.pool", 0, "feed: pool"),
        ("feed.num_streams", 0, "feed: num_streams"),
        ("feed.num_workers", -1, "feed: num_workers must be at least 0, got -1"),
        ("feed.num_workers", 2, "feed.num_streams is 1, not a multiple of 1 ranks x 2 workers"),
        ("feed.packing", "tight", "packing must be one of best_fit, split"),
        ("seed", -1, "seed must be at least 0, got -1"),
        ("trainer.accelerator", "foo", "trainer: accelerator=foo"),
        ("trainer.devices", "abc", "devices=abc"),
        ("trainer.devices", 0, "devices=0"),
        ("trainer.strategy", "foo", "strategy=foo"),
        ("trainer.accumulate", 0, "accumulate must be at least 1, got 0"),
        ("trainer.max_steps", 0, "max_steps"),
        ("trainer.max_seconds", 0.0, "max_seconds must be above 0"),
        ("trainer.clip", float("nan"), "clip must be at least 0"),
        ("trainer.report_every", 0, "report_every"),
        ("trainer.loss_chunk", 0, "loss_chunk"),
        ("schedule.final_ratio", -1.0, "final_ratio"),
        ("optimizer.lr", -1, "optimizer AdamW: Invalid learning rate: -1"),
        ("optimizer", {"name": "muon", "lr": -1}, "optimizer muon: "),
    ],
)
def test_a_value_out_of_range_is_one_line_and_leaves_no_run(
    plan: TrainConfig, key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        train(change(plan, key, value), tiny_system())
    assert "\n" not in str(caught.value)
    assert not (Path(plan.out) / "run.json").exists()
    assert not (Path(plan.out) / "backbone").exists()


def test_a_weight_that_is_no_number_is_refused(plan: TrainConfig) -> None:
    plan.mixture["speech"].weight = float("nan")
    with pytest.raises(ConfigError, match=r"source 'speech': mixture weights must be positive numbers, got nan"):
        train(plan, tiny_system())


class Adaptable(TinyBackbone, AdaptableBackbone):
    """Takes adapters for none of its layers, as peft answers a name that is not there."""

    has_adapter = False

    def add_lora(self, options: Any) -> None:
        raise ValueError(f"Target modules {options.modules} not found\nin the base model")

    def save_lora(self, directory: Path) -> None: ...

    def merge_lora(self) -> None: ...


def test_adapters_that_do_not_fit_are_one_line(plan: TrainConfig) -> None:
    system = tiny_system()
    system.backbone = Adaptable(len(system.codec.format.vocabulary))
    plan.lora = LoraConfig(rank=4, modules=["foo"])
    with pytest.raises(ConfigError, match=r"^lora: Target modules \('foo',\) not found$"):
        train(plan, system)
    plan.lora = LoraConfig(rank=0)
    with pytest.raises(ConfigError, match=r"rank >= 1.*got 0"):
        train(plan, system)


def test_what_is_trained_is_as_the_config_says(plan: TrainConfig) -> None:
    system = tiny_system()
    before = {name: weight.clone() for name, weight in system.backbone.state_dict().items()}
    stage = StageConfig(until=1, train=["head"])
    plan.tuning = TuningConfig(rows=["energy"], stages=[stage], train=["embedding", "head"])
    train(plan, system)
    moved = {name for name, weight in system.backbone.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved == {"embedding.weight", "head.weight"}
    assert all(parameter.requires_grad for parameter in system.backbone.parameters())


def test_rows_beside_adapters_are_named_by_lora(plan: TrainConfig) -> None:
    plan.lora, plan.tuning = LoraConfig(), TuningConfig(rows=["energy"])
    with pytest.raises(ConfigError, match=r"tuning.rows is for training without lora.*lora.trained_rows"):
        train(plan, tiny_system())


def test_quantized_weights_are_trained_by_adapters_alone(plan: TrainConfig) -> None:
    system = tiny_system()
    system.backbone.register_parameter("packed", torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), False))
    with pytest.raises(ConfigError, match=r"quantized, so only adapters can be trained: add lora=.*quantization=none"):
        train(plan, system)


def test_the_record_has_the_parts_of_the_run_that_it_starts_from(plan: TrainConfig, tmp_path: Path) -> None:
    before = {"backbone": {"name": "tiny", "vocab_size": 5}}
    save_system(tiny_system(), tmp_path / "first", before)
    plan.init = str(tmp_path / "first")
    plan.backbone = {"name": "llama", "hidden_size": 64}
    train(plan, tiny_system())
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["backbone"] == before["backbone"]
    plan.out = str(tmp_path / "first")
    with pytest.raises(ConfigError, match="out and init are one directory"):
        train(plan, tiny_system())


@pytest.mark.parametrize(
    ("change_mixture", "message"),
    [
        (lambda mixture: setattr(mixture["speech"], "weight", 9.0), r"mixture.speech.weight was 1.0, is 9.0"),
        (
            lambda mixture: mixture["speech"].interleaver.update(modality="text"),
            r"mixture.speech.interleaver.modality was 'speech', is 'text'",
        ),
        (lambda mixture: mixture.update(more=mixture["speech"]), r"mixture was \['speech'\], is \['speech', 'more'\]"),
    ],
)
def test_a_run_resumes_only_with_the_mixture_that_it_began_with(
    plan: TrainConfig, change_mixture: Any, message: str
) -> None:
    train(plan, tiny_system())
    plan.trainer.resume, plan.trainer.max_steps = True, 3
    assert train(plan, tiny_system()).steps == 3
    change_mixture(plan.mixture)
    plan.trainer.max_steps = 4
    with pytest.raises(FormatError, match=message):
        train(plan, tiny_system())


def test_a_run_resumes_only_with_the_shards_that_it_began_with(plan: TrainConfig, tmp_path: Path) -> None:
    train(plan, tiny_system())
    plan.trainer.resume, plan.trainer.max_steps = True, 3
    streams = tuple(tiny_system().codec.streams.values())
    write_shards(tmp_path / "shards", make_corpus(12, streams=streams))  # the same again
    train(plan, tiny_system())
    write_shards(tmp_path / "shards", make_corpus(12, seed=1, streams=streams))
    plan.trainer.max_steps = 4
    with pytest.raises(FormatError, match=r"mixture.speech.shards was "):
        train(plan, tiny_system())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.lr", 1e-4, r"optimizer.lr was 0.001, is 0.0001"),
        ("optimizer", {"name": "muon", "lr": 1e-3}, r"optimizer._target_ was 'torch.optim.AdamW', is None"),
        ("backbone", {"name": "tiny"}, r"backbone.name was None, is 'tiny'"),
        ("lora", LoraConfig(rank=2), r"lora was None, is \{"),
    ],
)
def test_a_run_resumes_only_with_the_settings_that_it_began_with(
    plan: TrainConfig, monkeypatch: pytest.MonkeyPatch, key: str, value: Any, message: str
) -> None:
    monkeypatch.setattr(run, "_add_lora", lambda config, system, seed: None)
    train(plan, tiny_system())
    plan.trainer.resume = True
    with pytest.raises(FormatError, match=message):
        train(change(plan, key, value), tiny_system())
