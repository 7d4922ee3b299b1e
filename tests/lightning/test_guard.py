"""A step that would spoil the weights is not taken: the run stops and says which utterances were in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from stlm.errors import DataError
from stlm.feed import FeedOptions, FeedSource, PackedDataset
from stlm.interfaces import BackboneCache, Hidden, PackedBatch
from stlm.interleave import Unimodal
from stlm.lightning.fit import FitReport
from stlm.lightning.guard import is_out_of_memory
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards
from stlm.testing.tiny_backbone import TinyBackbone

POISON = ord("Q")
"""A byte that the texts of two utterances hold, and no other."""
POISONED = {"utterance-4", "utterance-11"}
FEED = {"length": 96, "rows": 2, "num_streams": 1, "pool": 4, "seed": 3}


class Poisoned(TinyBackbone):
    """Goes wrong in one way wherever the poison is among the ids."""

    fault = ""

    def forward(self, batch: PackedBatch, cache: BackboneCache | None = None, layers: Iterable[int] = ()) -> Hidden:
        found = super().forward(batch, cache, tuple(layers))
        hit = (batch.ids == POISON)[..., None]
        if not hit.any():
            return found
        if self.fault == "memory":
            torch.empty(2**60, dtype=torch.uint8)
        if self.fault == "gpu memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nand more lines")
        if self.fault == "gradient" and found.last.requires_grad:
            found.last.register_hook(lambda gradient: gradient.masked_fill(hit, torch.inf))
        return replace(found, last=found.last.masked_fill(hit, torch.nan)) if self.fault == "loss" else found


def system_with(fault: str) -> SpeechTextLM:
    system = tiny_system()
    system.backbone = Poisoned(len(system.codec.format.vocabulary))
    system.backbone.fault = fault
    return system


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> list[FeedSource]:
    corpus = make_corpus(24, streams=())
    poisoned = [replace(item, text=f"Q{item.text}Q") if item.id in POISONED else item for item in corpus]
    directory = tmp_path_factory.mktemp("poisoned")
    write_shards(directory, poisoned)
    return [FeedSource(name="prose", shards=ShardSet(directory), interleaver=Unimodal("text"))]


def first_at_fault(mixture: list[FeedSource], accumulate: int) -> tuple[int, set[str]]:
    """The first step with the poison, and the utterances that are in it."""
    data = iter(PackedDataset(lambda: mixture, lambda: tiny_system().codec, FeedOptions(**FEED)))  # pyright: ignore
    for step in range(1, 50):
        batches = [next(data) for _ in range(accumulate)]
        origins = {origin for batch in batches for origin in batch.origins}
        names = {mixture[0].id_of(group, row) for _, _, group, row in origins}
        if any((batch.ids == POISON).any() for batch in batches):
            return step, names
    raise AssertionError("no step has the poison")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("loss", r"the loss is nan; corpora: prose; utterances without a finite loss, of \d+: "),
        ("gradient", r"the gradient's norm is (inf|nan) \(the loss is .*\); corpora: prose; utterances with the high"),
        ("memory", r"out of memory on rank 0, with a batch of 2 x 96 ids; corpora: prose; .*tried to allocate 11529"),
        ("gpu memory", r"out of memory on rank 0, with a batch of 2 x 96 ids; corpora: prose; .*\(CUDA out of mem"),
    ],
)
def test_a_bad_step_is_not_taken(
    train: Any, mixture: list[FeedSource], tmp_path: Path, fault: str, message: str, accumulate: int
) -> None:
    step, names = first_at_fault(mixture, accumulate)
    assert step > 2, "there must be steps before the bad one"
    options = {"mixture": mixture, "feed": FEED, "accumulate": accumulate, "checkpoint_every": 1}
    with pytest.raises(DataError, match=rf"^step {step}: {message}") as caught:
        train(system_with(fault), max_steps=step + 3, **options)
    line = str(caught.value)
    named = set(re.findall(r"prose/(utterance-\d+) \(", line))
    assert "\n" not in line and named and named <= names
    if fault == "loss":
        assert named == names & POISONED and "weights and checkpoints are those before this step" in line
    assert_last_good(train, tmp_path, step - 1, options)


def assert_last_good(train: Any, root: Path, step: int, options: dict[str, Any]) -> None:
    """The run holds the checkpoint of a good step and no other weights, and goes on from there."""
    straight, resumed = system_with(""), system_with("")
    train(straight, out="straight", max_steps=step, **options)
    content = torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == step
    for name, weight in straight.backbone.state_dict().items():
        assert torch.equal(content["state_dict"][f"backbone.{name}"], weight), name
    assert not (root / "run" / "backbone").exists()
    assert [path.name for path in (root / "run" / "checkpoints").iterdir()] == ["last.ckpt"]
    assert train(resumed, max_steps=step + 2, resume=True, **options).steps == step + 2
    train(straight, out="straight", max_steps=step + 2, resume=True, **options)
    for name, weight in straight.backbone.state_dict().items():
        assert torch.equal(resumed.backbone.state_dict()[name], weight), name


class Leap(pl.Callback):
    """Makes the model sure of what is wrong, in the middle of a run."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == 15:
            pl_module.backbone.head.weight.data.mul_(30)


def test_a_loss_that_leaps_stops_the_run(train: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        train(tiny_system(), max_steps=20, callbacks=[Leap()], checkpoint_every=1)
    line = str(caught.value)
    assert line.startswith("step 16: the loss leapt to ") and "\n" not in line
    assert "(trainer.spike is 3)" in line and "utterances with the highest losses, of " in line
    assert "/utterance-" in line and "corpora: " in line
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 15


def test_no_leap_stops_a_run_that_was_told_so(train: Any) -> None:
    report: FitReport = train(tiny_system(), max_steps=20, callbacks=[Leap()], spike=None)
    losses = [row["loss"] for row in report.history]
    assert report.steps == 20 and losses[15] > losses[14] + 3


def test_no_memory_for_the_optimizer_is_one_line_too(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(_: torch.optim.AdamW, closure: Callable[[], Any]) -> None:
        closure()
        raise MemoryError

    monkeypatch.setattr(torch.optim.AdamW, "step", no_memory)
    with pytest.raises(DataError, match=r"^step 1: out of memory on rank 0, where the optimizer keeps .*MemoryE"):
        train(tiny_system())


def test_other_errors_are_not_called_out_of_memory(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    monkeypatch.setattr(Poisoned, "forward", lambda *_: torch.zeros(2, 3) @ torch.zeros(2, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(system_with(""))
