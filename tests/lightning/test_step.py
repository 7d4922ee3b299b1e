"""Laws of an optimizer step: every token weighs the same, and the norm of what is applied is at most the clip."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional

from stlm.errors import ConfigError
from stlm.feed.dataset import collate
from stlm.feed.packing import make_row
from stlm.interfaces.batch import PackedBatch
from stlm.lightning.pretrain import LanguageModelModule
from stlm.lightning.schedule import Schedule
from stlm.lightning.strategy import batches_per_step
from stlm.testing.factories import base_codec
from stlm.testing.tiny_backbone import TinyBackbone, batch_of
from stlm.types import TokenSequence

RATE = 0.5
FEW, MANY = [[3, 4, 5], [6, 7]], [list(range(5, 45)), list(range(60, 90))]


def batch_in_rows(documents: Sequence[Sequence[int]], length: int = 40) -> PackedBatch:
    """A document a row; all batches of a feed have rows of one length, and so have these."""
    sequences = [TokenSequence(ids=np.array(ids), loss=np.ones(len(ids), bool)) for ids in documents]
    return collate([make_row([sequence], length, pad=0) for sequence in sequences])


class Given(pl.LightningDataModule):
    """The batches it is given, one after the other."""

    def __init__(self, batches: Sequence[PackedBatch]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> torch.utils.data.DataLoader[PackedBatch]:
        return torch.utils.data.DataLoader(self.batches, batch_size=None)  # pyright: ignore[reportArgumentType]

    def consumed(self, batch: PackedBatch) -> None: ...


def step(batches: Sequence[PackedBatch], **options: Any) -> tuple[TinyBackbone, float]:
    """The model after one step of SGD over the batches, and the loss that is reported."""
    codec = base_codec()
    backbone = TinyBackbone(len(codec.format.vocabulary))
    module = LanguageModelModule(
        backbone,
        codec,
        lambda model: torch.optim.SGD(model.parameters(), lr=RATE),
        Schedule(shape="constant", warmup_steps=0),
        **{"clip": 0.0, **options},
    )
    trainer = pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        accumulate_grad_batches=len(batches),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=Given(batches))
    return backbone, float(trainer.logged_metrics["train/loss"])


def by_hand(documents: Sequence[Sequence[int]]) -> tuple[TinyBackbone, float, float]:
    """The same, each document by itself and with whole logits; the third is the gradient's norm."""
    model = TinyBackbone(len(base_codec().format.vocabulary))
    losses = []
    for document in documents:
        logits = model.logits(model(batch_of([document])).last)[0]
        losses.append(functional.cross_entropy(logits[:-1], torch.tensor(document[1:]), reduction="none"))
    loss = torch.cat(losses).mean()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=RATE).step()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return model, float(loss.detach()), float(torch.nn.utils.get_total_norm(gradients))


def assert_close(model: TinyBackbone, expected: TinyBackbone, *, tolerance: float = 1e-6) -> None:
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "batches",
    [
        [batch_in_rows([*FEW, *MANY])],
        [batch_in_rows(FEW), batch_in_rows(MANY)],
        [batch_in_rows(MANY), batch_in_rows(FEW)],
    ],
    ids=["one batch", "few then many", "many then few"],
)
def test_a_step_is_the_mean_over_all_its_tokens(batches: list[PackedBatch]) -> None:
    model, loss = step(batches)
    expected, mean, _ = by_hand([*FEW, *MANY])
    assert loss == pytest.approx(mean, abs=1e-6)
    assert_close(model, expected)


def test_a_mean_of_means_would_differ() -> None:
    """The law above could be broken: the documents' means are far from the mean over their tokens."""
    _, mean, _ = by_hand([*FEW, *MANY])
    assert abs((by_hand(FEW)[1] + by_hand(MANY)[1]) / 2 - mean) > 1e-3


@pytest.mark.parametrize("chunk", [1, 7, 72])
def test_the_chunk_of_the_loss_does_not_matter(chunk: int) -> None:
    batches = [batch_in_rows(FEW), batch_in_rows(MANY)]
    model, loss = step(batches, loss_chunk=chunk)
    expected, whole = step(batches)
    assert loss == pytest.approx(whole, abs=1e-6)
    assert_close(model, expected)


@pytest.mark.parametrize("share", [0.25, 2.0])
def test_the_gradient_of_the_whole_step_is_clipped(share: float) -> None:
    before = TinyBackbone(len(base_codec().format.vocabulary))
    expected, _, norm = by_hand([*FEW, *MANY])
    model, _ = step([batch_in_rows(FEW), batch_in_rows(MANY)], clip=share * norm)
    whole = copy.deepcopy(expected)
    for start, end, weight in zip(before.parameters(), expected.parameters(), whole.parameters(), strict=True):
        weight.data.copy_(start + min(1.0, share) * (end - start))
    assert_close(model, whole)
    moved = [old - new for old, new in zip(before.parameters(), model.parameters(), strict=True)]
    assert float(torch.nn.utils.get_total_norm(moved)) == pytest.approx(RATE * norm * min(1.0, share), rel=1e-4)


def test_a_batch_without_a_label_changes_nothing() -> None:
    model, loss = step([batch_in_rows([[7], [8]]), batch_in_rows(MANY)])
    expected, mean, _ = by_hand(MANY)
    assert loss == pytest.approx(mean, abs=1e-6)
    assert_close(model, expected)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [((0, 4, 2, 3), 3), ((8, 4, 2, 3), 1), ((32, 4, 2, 1), 4), ((6, 3, 1, 1), 2)],
)
def test_batches_of_a_step(asked: tuple[int, int, int, int], expected: int) -> None:
    assert batches_per_step(*asked) == expected


@pytest.mark.parametrize("asked", [(6, 4, 2, 1), (4, 4, 2, 1), (7, 3, 1, 1)])
def test_rows_that_cannot_be_dealt_evenly_are_refused(asked: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match=r"^trainer.batch_rows is \d, not a multiple of feed.rows .* ranks = \d"):
        batches_per_step(*asked)


@pytest.mark.parametrize(
    ("shape", "middle", "end"), [("constant", 1.0, 1.0), ("linear", 0.6, 0.2), ("cosine", 0.6, 0.2)]
)
def test_the_rate_warms_up_and_goes_to_its_end(shape: str, middle: float, end: float) -> None:
    schedule = Schedule(shape=shape, warmup_steps=4, total_steps=24, final_ratio=0.2)
    assert [schedule.factor(step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert schedule.factor(14) == pytest.approx(middle)
    assert schedule.factor(24) == schedule.factor(1000) == pytest.approx(end)
    assert Schedule(shape=shape, warmup_steps=0).factor(0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "square"}, "one of cosine, linear, constant, got 'square'"),
        ({"warmup_steps": -1}, "warmup_steps >= 0"),
        ({"final_ratio": 1.5}, "final_ratio <= 1"),
    ],
)
def test_a_schedule_that_is_none_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schedule(**options)
