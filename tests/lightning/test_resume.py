"""Exact resume: an interrupted run and an uninterrupted one are the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stlm.config.build import build_optimizer
from stlm.errors import DataError, FormatError
from stlm.feed import FeedOptions, FeedSource
from stlm.interleave import Unimodal, WordSpans
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions, FitReport, fit
from stlm.lightning.pretrain import Schedule
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards

MUON = {"name": "muon", "lr": 1e-2}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-2, "weight_decay": 0.1}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    system = tiny_system()
    corpus = make_corpus(24, streams=tuple(system.codec.streams.values()))
    write_shards(tmp_path / "shards", corpus, group_size=4)
    return tmp_path / "shards"


def run(
    system: SpeechTextLM, shards: Path, out: Path, *, steps: int, resume: bool = False, optimizer: dict[str, object]
) -> FitReport:
    found = ShardSet(shards)
    sources = [
        FeedSource(name="speech", shards=found, interleaver=Unimodal("speech")),
        FeedSource(name="mixed", shards=found, interleaver=WordSpans(text_words=(1, 3), speech_words=(1, 3))),
    ]
    data = FeedDataModule(
        lambda: sources, lambda: system.codec, FeedOptions(length=64, rows=2, num_streams=2, pool=4, seed=3)
    )
    options = FitOptions(
        max_steps=steps, precision="32-true", accelerator="cpu", checkpoint_every=5, resume=resume, progress=False
    )
    schedule = Schedule(warmup_steps=2, total_steps=12)
    return fit(system, data, build_optimizer(optimizer), schedule, options, out, report_every=1)


@pytest.mark.parametrize("optimizer", [MUON, ADAMW], ids=["muon", "adamw"])
def test_interrupted_run_ends_with_the_same_weights_and_losses(
    shards: Path, tmp_path: Path, optimizer: dict[str, object]
) -> None:
    whole = tiny_system()
    straight = run(whole, shards, tmp_path / "whole", steps=12, optimizer=optimizer)
    run(tiny_system(), shards, tmp_path / "cut", steps=5, optimizer=optimizer)
    resumed = tiny_system()
    rest = run(resumed, shards, tmp_path / "cut", steps=12, resume=True, optimizer=optimizer)
    for name, weights in whole.backbone.state_dict().items():
        assert torch.equal(weights, resumed.backbone.state_dict()[name]), name
    assert rest.tokens_seen == straight.tokens_seen
    losses = [row["loss"] for row in straight.history]
    assert [row["loss"] for row in rest.history] == losses[-len(rest.history) :]
    assert losses[-1] < losses[0]


def test_resume_without_a_checkpoint_is_an_error_not_a_fresh_start(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to resume from"):
        run(tiny_system(), shards, tmp_path / "none", steps=2, resume=True, optimizer=ADAMW)


def test_resume_with_another_row_length_names_both(shards: Path, tmp_path: Path) -> None:
    system = tiny_system()
    run(system, shards, tmp_path / "run", steps=5, optimizer=ADAMW)
    module = FeedDataModule(lambda: [], lambda: system.codec, FeedOptions(length=32, rows=2))
    with pytest.raises(FormatError, match="exact resume needs the same"):
        module.load_state_dict({"cursor": {}, "options": {"length": 64}})


def test_checkpoints_load_without_unpickling_code(shards: Path, tmp_path: Path) -> None:
    run(tiny_system(), shards, tmp_path / "run", steps=5, optimizer=MUON)
    content = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 5
