"""What is trained: frozen parameters do not move, stages resume exactly, rates and rows reach what they name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from stlm.config.build import build_optimizer, build_tuning
from stlm.config.schema import StageConfig, TuningConfig
from stlm.errors import ConfigError, FormatError
from stlm.feed import FeedOptions, FeedSource
from stlm.interleave import Unimodal
from stlm.lightning.data import FeedDataModule
from stlm.lightning.optimizers import MuonAdamW
from stlm.lightning.pretrain import LanguageModelModule, Schedule
from stlm.lightning.rows import join_rows, split_rows
from stlm.lightning.tuning import TuningOptions, TuningStage, prepare
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import tiny_system
from stlm.testing.fakes import TinyBackbone, batch_of

MUON = {"name": "muon", "lr": 1e-2}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-2, "weight_decay": 0.1}
SGD = {"_target_": "torch.optim.SGD", "lr": 1e-2, "weight_decay": 0.1, "momentum": 0.9}
OPTIMIZERS = {"muon": MUON, "adamw": ADAMW, "sgd": SGD}
TABLES = {"embedding.weight", "head.weight"}
STAGES = (TuningStage(until=3, train=("embedding", "head")), TuningStage(until=5, train=(r"blocks\.1",)))


def train(
    shards: Path,
    out: Path,
    options: TuningOptions,
    *,
    steps: int,
    optimizer: Mapping[str, Any] = ADAMW,
    rates: Mapping[str, float] | None = None,
    resume: bool = False,
    accumulate: int = 1,
    watch: pl.Callback | None = None,
) -> dict[str, torch.Tensor]:
    """Weights after a training of the tiny model, whose last checkpoint is in `out`."""
    system: SpeechTextLM = tiny_system()
    sources = [FeedSource(name="speech", shards=ShardSet(shards), interleaver=Unimodal("speech"))]
    data = FeedDataModule(lambda: sources, lambda: system.codec, FeedOptions(length=64, rows=2, pool=4, seed=3))
    freezing = prepare(system.backbone, options)
    module = LanguageModelModule(
        system.backbone,
        system.codec,
        build_optimizer(optimizer, rates),
        Schedule(warmup_steps=2, total_steps=8),
        report_every=1,
    )
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        accumulate_grad_batches=accumulate,
        callbacks=[
            freezing,
            ModelCheckpoint(out, save_last=True, every_n_train_steps=1, save_top_k=0, enable_version_counter=False),
            *([watch] if watch else []),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data, ckpt_path=out / "last.ckpt" if resume else None, weights_only=True)
    return {name: weight.clone() for name, weight in system.backbone.state_dict().items()}


def moved(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> set[str]:
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_only_what_matches_moves(shards: Path, tmp_path: Path, optimizer: dict[str, Any]) -> None:
    before = tiny_system().backbone.state_dict()
    options = TuningOptions(train=("embedding", "head"))
    assert moved(before, train(shards, tmp_path, options, steps=3, optimizer=optimizer)) == TABLES


class Watch(pl.Callback):
    """Weights after each optimizer step, and the parameters that have a state."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.held: list[set[str]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        backbone = pl_module.backbone
        assert isinstance(backbone, TinyBackbone)
        self.weights.append({name: weight.clone() for name, weight in backbone.state_dict().items()})
        optimizer = trainer.optimizers[0]
        parts = optimizer.parts.values() if isinstance(optimizer, MuonAdamW) else [optimizer]
        states = {parameter for part in parts for parameter in part.state}
        self.held.append({name for name, parameter in backbone.named_parameters() if parameter in states})


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_stage_moves_its_own_and_keeps_no_other_state(
    shards: Path, tmp_path: Path, optimizer: dict[str, Any], accumulate: int
) -> None:
    """Momentum and moments of an earlier stage would go on moving weights, were they kept."""
    watch, before = Watch(), tiny_system().backbone.state_dict()
    options = TuningOptions(stages=STAGES)
    train(shards, tmp_path, options, steps=7, optimizer=optimizer, watch=watch, accumulate=accumulate)
    block = {name for name in before if name.startswith("blocks.1.")}
    weights = [before, *watch.weights[accumulate - 1 :: accumulate]]
    expected = [TABLES] * 3 + [block] * 2 + [set(before)] * 2
    assert [moved(*pair) for pair in pairwise(weights)] == expected
    assert watch.held[accumulate - 1 :: accumulate] == expected


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("cut", [2, 3, 4, 5, 6])
def test_resume_is_exact_inside_a_stage_and_at_its_end(
    shards: Path, tmp_path: Path, optimizer: dict[str, Any], cut: int
) -> None:
    options = TuningOptions(stages=STAGES)
    whole = train(shards, tmp_path / "whole", options, steps=7, optimizer=optimizer)
    train(shards, tmp_path / "cut", options, steps=cut, optimizer=optimizer)
    assert not moved(whole, train(shards, tmp_path / "cut", options, steps=7, optimizer=optimizer, resume=True))


def test_parameters_require_gradients_again_after_training() -> None:
    model = TinyBackbone(vocab_size=12)
    freezing = prepare(model, TuningOptions(train=("head", "embedding"), rows=(3, 5)))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == ["embedding.parametrizations.weight.0.rows", "head.parametrizations.weight.0.rows"]
    freezing.on_fit_end(pl.Trainer(logger=False, accelerator="cpu", barebones=True), pl.LightningModule())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_trained_at_counts_steps_from_zero() -> None:
    freezing = prepare(TinyBackbone(vocab_size=12), TuningOptions(stages=STAGES, train=("norm",)))
    assert freezing.is_staged
    assert freezing.trained_at(0) == freezing.trained_at(2) == TABLES
    assert all(name.startswith("blocks.1.") for name in freezing.trained_at(3) | freezing.trained_at(4))
    assert "norm.weight" in freezing.trained_at(5) and TABLES.isdisjoint(freezing.trained_at(500))


def test_what_no_step_trains_is_in_no_optimizer() -> None:
    model = TinyBackbone(vocab_size=12)
    prepare(model, TuningOptions(stages=(TuningStage(until=2, train=("head",)),), train=("embedding",)))
    optimizer = build_optimizer(ADAMW)(model)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(model.head.weight), id(model.embedding.weight)}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_first_rate_that_matches_counts_and_decay_stays(optimizer: dict[str, Any]) -> None:
    model = TinyBackbone(vocab_size=12)
    made = build_optimizer(optimizer, {"embedding|head": 2.0, "bias": 0.5, r"blocks\.1": 4.0})(model)
    plain = build_optimizer(optimizer)(model)
    rate, decay = ({p: group[key] for group in made.param_groups for p in group["params"]} for key in KEYS)
    old_decay = {p: group["weight_decay"] for group in plain.param_groups for p in group["params"]}
    assert decay == old_decay
    expected = {"embedding.weight": 2, "head.weight": 2, "blocks.1.out.bias": 0.5, "blocks.1.out.weight": 4}
    for name, parameter in model.named_parameters():
        if name in expected or name.startswith("norm"):
            factor = expected.get(name, 0.5 if "bias" in name else 1)
            assert rate[parameter] == pytest.approx(1e-2 * factor), name
    assert all("rate" not in group for group in made.param_groups)


KEYS = ("lr", "weight_decay")


def test_without_rates_the_groups_are_as_ever() -> None:
    groups = build_optimizer(ADAMW)(TinyBackbone(vocab_size=12)).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-2, 0.1), (1e-2, 0.0)]


def test_the_schedule_keeps_the_ratio_of_rates() -> None:
    made = build_optimizer(ADAMW, {"head": 3.0})(TinyBackbone(vocab_size=12))
    scheduler = torch.optim.lr_scheduler.LambdaLR(made, lambda step: 0.5**step)
    made.step()
    scheduler.step()
    assert {group["lr"] for group in made.param_groups} == {0.5e-2, 1.5e-2}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("patterns", [(), ("embedding", "head")], ids=["all", "tables"])
def test_other_rows_stay_bit_identical(
    shards: Path, tmp_path: Path, optimizer: dict[str, Any], patterns: tuple[str, ...]
) -> None:
    system = tiny_system()
    before, rows = system.backbone.state_dict(), ids_of(system, "energy")
    options = TuningOptions(rows=tuple(rows), train=patterns)
    after = train(shards, tmp_path / "whole", options, steps=5, optimizer=optimizer)
    assert after.keys() == before.keys()
    for name in TABLES:
        changed = (after[name] != before[name]).any(dim=1).nonzero().flatten().tolist()
        assert changed and set(changed) <= set(rows)
    assert moved(before, after) == (TABLES if patterns else set(before))
    train(shards, tmp_path / "cut", options, steps=2, optimizer=optimizer)
    assert not moved(after, train(shards, tmp_path / "cut", options, steps=5, optimizer=optimizer, resume=True))


def test_rows_are_tables_to_muon() -> None:
    model = TinyBackbone(vocab_size=12)
    prepare(model, TuningOptions(rows=(3, 7)))
    made = build_optimizer(MUON)(model)
    assert isinstance(made, MuonAdamW)
    in_adamw = {parameter for group in made.parts["adamw"].param_groups for parameter in group["params"]}
    assert {p for name, p in model.named_parameters() if name.endswith(".rows")} <= in_adamw


class Tied(TinyBackbone):
    """One table for embedding and head."""

    def __init__(self) -> None:
        super().__init__(vocab_size=12)
        self.head.weight = self.embedding.weight

    def head_parameters(self) -> list[torch.nn.Parameter]:
        return [self.embedding.weight]


def test_rows_of_a_tied_table_are_shared_and_come_back_tied() -> None:
    model = Tied()
    table = model.embedding.weight
    before = copy.deepcopy(table)
    split_rows(model, (3, 7))
    rows = [parameter for name, parameter in model.named_parameters() if name.endswith(".rows")]
    assert len(rows) == 1 and rows[0].shape == (2, 16)
    model.logits(model(batch_of([[1, 3, 7]])).last).logsumexp(-1).sum().backward()
    torch.optim.SGD(rows, lr=1.0).step()
    hidden = model(batch_of([[3, 7, 2]])).last
    join_rows(model)
    assert model.embedding.weight is model.head.weight is table
    assert (table != before).any(dim=1).nonzero().flatten().tolist() == [3, 7]
    assert torch.equal(model(batch_of([[3, 7, 2]])).last, hidden)


def test_a_tied_table_answers_to_both_names() -> None:
    for pattern in ("embedding", "head"):
        assert prepare(Tied(), TuningOptions(train=(pattern,))).trained_at(0) == {"embedding.weight"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"train": ("embeding",)},
            r"tuning.train: 'embeding' matches no parameter .*did you mean 'embedding'\?.* norm",
        ),
        ({"train": ("head", "[")}, r"tuning.train: '\[' is not a regular expression"),
        ({"train": ("",)}, r"tuning.train: '' matches every parameter"),
        ({"stages": (TuningStage(until=2, train=("lm_head",)),)}, r"tuning.stages\[0\].train: 'lm_head' matches no"),
        ({"stages": (TuningStage(until=2), TuningStage(until=2))}, r"rise from stage to stage, got \[2, 2\]"),
        ({"stages": (TuningStage(until=0),)}, r"above 0"),
        ({"rows": (1,), "train": ("blocks",)}, r"tuning.train leaves a table out"),
    ],
)
def test_what_cannot_be_trained_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        prepare(TinyBackbone(vocab_size=12), TuningOptions(**options))
    assert "\n" not in str(caught.value)


def test_nothing_left_to_train_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nothing to train: no parameter of TinyBackbone requires gradients"):
        prepare(TinyBackbone(vocab_size=12).requires_grad_(False), TuningOptions())  # pyright: ignore


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"head": 0.0}, r"'head' has factor 0, .*left out of tuning.train, or for a time by tuning.stages"),
        ({"head": -1.0}, r"'head' has factor -1.0, expected a number above 0"),
        ({"head": float("nan")}, r"'head' has factor nan"),
        ({"(": 1.0}, r"tuning.rates: '\(' is not a regular expression"),
        ({"heads": 2.0}, r"tuning.rates: 'heads' matches no parameter .*did you mean 'head'\?"),
    ],
)
@pytest.mark.parametrize("optimizer", [MUON, ADAMW], ids=["muon", "adamw"])
def test_a_rate_that_means_nothing_is_one_line(
    optimizer: dict[str, Any], rates: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimizer(optimizer, rates)(TinyBackbone(vocab_size=12))


def test_a_rate_for_what_is_frozen_is_refused() -> None:
    model = TinyBackbone(vocab_size=12)
    prepare(model, TuningOptions(train=("head",)))
    with pytest.raises(ConfigError, match=r"tuning.rates: 'blocks' matches no parameter that can be trained"):
        build_optimizer(ADAMW, {"blocks": 2.0})(model)


def test_blocks_become_the_ids_of_their_rows() -> None:
    system = tiny_system()
    config = TuningConfig(rows=["markers", "energy", "markers"], stages=[StageConfig(until=4, train=["head"])])
    options = build_tuning(config, system.codec)
    assert options.rows == (*ids_of(system, "markers"), *ids_of(system, "energy"))
    assert options.stages == (TuningStage(until=4, train=("head",)),)
    with pytest.raises(FormatError, match="did you mean 'markers'"):
        build_tuning(TuningConfig(rows=["marker"]), system.codec)


def ids_of(system: SpeechTextLM, block: str) -> range:
    vocabulary = system.codec.format.vocabulary
    return range(vocabulary.offset(block), vocabulary.offset(block) + vocabulary.block(block).num_ids)
