"""Loss, schedule, optimizer groups and time budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stlm.config.build import build_optimizer
from stlm.errors import ConfigError
from stlm.feed import FeedOptions, FeedSource
from stlm.interleave import Unimodal
from stlm.learn.machine import resolve_precision
from stlm.lightning import strategy
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions, fit
from stlm.lightning.loss import token_losses
from stlm.lightning.optimizers import MuonAdamW, split_parameters
from stlm.lightning.pretrain import LossByBlock
from stlm.lightning.schedule import Schedule
from stlm.testing.factories import base_codec, make_corpus, tiny_system, write_shards
from stlm.testing.fakes import TinyBackbone, batch_of


def test_chunked_loss_equals_whole_loss_and_its_gradient() -> None:
    model = TinyBackbone(vocab_size=20)
    batch = batch_of([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    labels = torch.tensor([[2, 3, 4, 5, -100], [7, -100, 9, 10, -100]])
    results = []
    for chunk in (3, 1000):
        model.zero_grad()
        losses, targets = token_losses(model, model(batch).last, labels, chunk=chunk)
        losses.mean().backward()
        results.append((losses.detach(), targets, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (losses, targets, gradients), (whole, same_targets, whole_gradients) = results
    assert torch.equal(targets, same_targets)
    assert targets.tolist() == [2, 3, 4, 5, 7, 9, 10]
    torch.testing.assert_close(losses, whole)
    for one, other in zip(gradients, whole_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_schedule_warms_up_then_falls_to_its_final_ratio() -> None:
    schedule = Schedule(warmup_steps=10, total_steps=110, final_ratio=0.1)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(10) == pytest.approx(1.0)
    assert schedule.factor(60) == pytest.approx(0.55)
    assert schedule.factor(110) == schedule.factor(5000) == pytest.approx(0.1)


def test_muon_takes_matrices_and_adamw_takes_tables_and_vectors() -> None:
    model = TinyBackbone(vocab_size=20)
    optimizer = MuonAdamW(model, lr=1e-2)
    matrices, heads, vectors = split_parameters(model)
    in_muon = {id(p) for group in optimizer.parts["muon"].param_groups for p in group["params"]}
    assert in_muon == {id(p) for p in matrices}
    assert len(matrices) + len(heads) + len(vectors) == len(list(model.parameters()))
    assert {id(p) for p in heads} == {id(p) for p in model.head_parameters()}


def test_schedulers_reach_both_parts_of_muon() -> None:
    optimizer = MuonAdamW(TinyBackbone(vocab_size=20), lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    scheduler.step()
    assert {group["lr"] for part in optimizer.parts.values() for group in part.param_groups} == {0.5}


def test_unknown_optimizer_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean 'AdamW'"):
        build_optimizer({"_target_": "torch.optim.AdamWW", "lr": 1})
    with pytest.raises(ConfigError, match=r"torch\.optim\.NAME"):
        build_optimizer({"_target_": "os.system", "command": "true"})


def test_wrong_optimizer_argument_is_a_config_error() -> None:
    factory = build_optimizer({"_target_": "torch.optim.AdamW", "learning_rate": 1})
    with pytest.raises(ConfigError, match="learning_rate"):
        factory(TinyBackbone(vocab_size=20))


def test_loss_by_kind_means_over_the_tokens_of_each_block() -> None:
    codec = base_codec()
    text = codec.format.vocabulary.offset("text")
    units = codec.format.vocabulary.offset("hubert")
    by_block = LossByBlock(codec)
    sums = by_block(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([text, text + 1, units]))
    sums += by_block(torch.tensor([8.0]), torch.tensor([text + 2]))
    assert by_block.means(sums) == {"text": pytest.approx(4.0), "hubert": pytest.approx(5.0)}


def test_unknown_precision_names_the_choices() -> None:
    assert resolve_precision("32-true") == "32-true"
    assert resolve_precision("auto") in ("bf16-mixed", "32-true")
    with pytest.raises(ConfigError, match="bf16-mixed"):
        resolve_precision("fp8")


class Clock:
    """Half a second passes at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 0.5
        return self.now


def test_time_budget_ends_the_run_near_its_time_and_finishes_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(strategy, "time", clock)
    system = tiny_system()
    corpus = make_corpus(24, streams=tuple(system.codec.streams.values()))
    shards = write_shards(tmp_path / "shards", corpus, group_size=4)
    sources = [FeedSource(name="speech", shards=shards, interleaver=Unimodal("speech"))]
    data = FeedDataModule(lambda: sources, lambda: system.codec, FeedOptions(length=64, rows=2))
    options = FitOptions(max_steps=1_000_000, max_seconds=30.0, precision="32-true", accelerator="cpu", progress=False)
    optimizer = build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1e-3})
    schedule = Schedule(warmup_steps=2, total_steps=1_000_000, final_ratio=0.0)
    report = fit(system, data, optimizer, schedule, options, tmp_path / "run", report_every=1)
    assert report.steps == 60 and 30.0 <= clock.now <= 31.0
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-4
