"""Options of a run: budgets, checkpoints that stay, where it goes on from, and how layers are computed."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from stlm.errors import DataError
from stlm.feed import FeedSource
from stlm.lightning import strategy
from stlm.lightning.fit import FitReport
from stlm.lightning.schedule import Schedule
from stlm.lightning.validation import Validation
from stlm.system import SpeechTextLM
from stlm.testing.factories import tiny_system

SCHEDULE = Schedule(shape="linear", warmup_steps=0, total_steps=1000, final_ratio=0.0)


def weights_of(system: SpeechTextLM) -> dict[str, torch.Tensor]:
    return dict(system.backbone.state_dict())


def assert_equal(one: SpeechTextLM, other: SpeechTextLM, *, within: float = 0.0) -> None:
    for name, weight in weights_of(one).items():
        torch.testing.assert_close(weights_of(other)[name], weight, rtol=0, atol=within, msg=name)


def checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def test_tokens_by_block_and_by_modality_are_those_of_the_batches(train: Any, batches: Any) -> None:
    system = tiny_system()
    report: FitReport = train(system, callbacks=[batches], accumulate=2)
    ids = torch.cat([batch.ids[batch.segments > 0] for _, batch in batches.seen])
    assert len(batches.seen) == 8
    # bytes and specials, then four markers, then eight units of energy
    text, markers, units = ((ids < 259).sum(), ((ids >= 259) & (ids < 263)).sum(), (ids >= 263).sum())
    assert report.tokens_by_block == {"text": int(text), "markers": int(markers), "energy": int(units)}
    assert report.tokens_seen == {"text": int(text), "markers": int(markers), "speech": int(units)}


@pytest.mark.parametrize("max_tokens", [1, 3000, 8000])
@pytest.mark.parametrize("max_seconds", [None, 1e6])
def test_a_budget_of_tokens_ends_with_the_step_that_reaches_it(
    train: Any, batches: Any, tmp_path: Path, max_tokens: int, max_seconds: float | None
) -> None:
    options = {"max_tokens": max_tokens, "max_seconds": max_seconds, "max_steps": 1000, "spike": None}
    report: FitReport = train(tiny_system(), callbacks=[batches], schedule=SCHEDULE, **options)
    seen = list(accumulate(int((batch.segments > 0).sum()) for _, batch in batches.seen))
    assert seen[-1] >= max_tokens and all(tokens < max_tokens for tokens in seen[:-1])
    assert report.steps == len(seen)
    state = checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert state["global_step"] == report.steps
    if report.steps > 25:  # the pace was measured, so the schedule knew its end
        assert state["optimizer_states"][0]["param_groups"][0]["lr"] < 0.05 * 1e-2


class Clock:
    """A second passes at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(("max_tokens", "most"), [(None, 11), (500, 6)])
def test_the_budget_that_ends_first_counts(
    train: Any, monkeypatch: pytest.MonkeyPatch, max_tokens: int | None, most: int
) -> None:
    monkeypatch.setattr(strategy, "time", Clock())
    report: FitReport = train(tiny_system(), max_seconds=10.0, max_tokens=max_tokens, max_steps=1000)
    assert 0 < report.steps <= most


@pytest.mark.parametrize("checkpoint_every", [2, 3, 5, 100])
def test_the_last_step_has_a_checkpoint_and_some_stay(train: Any, tmp_path: Path, checkpoint_every: int) -> None:
    train(tiny_system(), max_steps=7, checkpoint_every=checkpoint_every, keep_every=3)
    kept = tmp_path / "run" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["last.ckpt", "step-3.ckpt", "step-6.ckpt"]
    steps = {path.stem: checkpoint(path)["global_step"] for path in kept.iterdir()}
    assert steps == {"last": 7, "step-3": 3, "step-6": 6}


def test_a_run_goes_on_from_the_checkpoint_it_is_told(train: Any, tmp_path: Path) -> None:
    straight, resumed = tiny_system(), tiny_system()
    train(straight, out="straight", max_steps=7)
    train(tiny_system(), max_steps=5, keep_every=2)
    path = tmp_path / "run" / "checkpoints" / "step-2.ckpt"
    report: FitReport = train(resumed, max_steps=7, resume=str(path))
    assert [row["step"] for row in report.history] == [3, 4, 5, 6, 7]
    assert_equal(straight, resumed)
    with pytest.raises(DataError, match=r"step-9.ckpt: no such checkpoint: name one that is there"):
        train(tiny_system(), max_steps=7, resume=str(path.with_name("step-9.ckpt")))


def test_a_run_goes_on_from_a_last_step_that_was_not_due(train: Any) -> None:
    straight, resumed = tiny_system(), tiny_system()
    train(straight, out="straight", max_steps=9, checkpoint_every=4)
    train(tiny_system(), max_steps=7, checkpoint_every=4)
    report: FitReport = train(resumed, max_steps=9, checkpoint_every=4, resume=True)
    assert [row["step"] for row in report.history] == [8, 9]
    assert_equal(straight, resumed)


def test_the_step_that_ends_a_budget_is_validated(
    train: Any, sources: list[FeedSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(Validation, "_evaluate", lambda _, trainer, __: steps.append(trainer.global_step))
    system = tiny_system()
    held_out = Validation(lambda: sources, system.codec, every=0, num_documents=4, rows=2, length=64, seed=0)
    report: FitReport = train(system, max_steps=1000, max_tokens=1500, callbacks=[held_out])
    assert report.steps < 25 and steps == [report.steps]


def test_layers_that_are_computed_again_train_the_same_model(train: Any) -> None:
    plain, other = tiny_system(), tiny_system()
    train(plain, out="plain")
    train(other, activation_checkpointing=True)
    assert_equal(plain, other)


@pytest.mark.slow
def test_compiled_layers_train_the_same_model(train: Any) -> None:
    """By their losses: Adam makes a step of every gradient, also of one that is nothing but rounding."""
    plain: FitReport = train(tiny_system(), out="plain")
    counters.clear()
    compiled: FitReport = train(tiny_system(), compile=True)
    assert counters["stats"]["unique_graphs"] > 0
    assert [row["loss"] for row in compiled.history] == pytest.approx([row["loss"] for row in plain.history], abs=1e-4)
