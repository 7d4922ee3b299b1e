import csv
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from stlm.errors import ConfigError, DataError
from stlm.learn.training import CHECKPOINT, TrainingOptions, progress_of, train_module
from stlm.types import Audio


class Regression(pl.LightningModule):
    def __init__(self, break_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.break_at = break_at
        self.seen: list[float] = []

    def training_step(self, batch, index):
        x, y = batch
        self.seen.append(float(x.sum()))
        if self.break_at is not None and len(self.seen) == self.break_at:
            raise KeyboardInterrupt
        return {"loss": (self.layer(x)[:, 0] - y).square().mean(), "size": torch.tensor(float(len(x)))}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def draw(rng: np.random.Generator):
    x = torch.from_numpy(rng.standard_normal((8, 3)).astype(np.float32))
    return x, x.sum(1)


def options(**more) -> TrainingOptions:
    defaults = {"max_steps": 20, "learning_rate": 0.05, "warmup_steps": 2, "precision": "32-true", "accelerator": "cpu"}
    return TrainingOptions(**{**defaults, "report_every": 5, "checkpoint_every": 4, **more})


def test_losses_fall_and_become_curves(tmp_path: Path):
    history = train_module(Regression(), draw, tmp_path, options(max_steps=60), label="test")
    assert [row["step"] for row in history] == [1, *range(5, 61, 5)]
    assert history[-1]["loss"] < 0.2 * history[0]["loss"]
    rows = list(csv.DictReader((tmp_path / "logs" / "part-00" / "metrics.csv").open()))
    assert float(rows[-1]["loss"]) == pytest.approx(history[-1]["loss"], rel=1e-5)
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("workers", [0, 2])
def test_interrupted_training_goes_on_to_the_same_weights(tmp_path: Path, workers: int):
    whole, broken, resumed = Regression(), Regression(break_at=11), Regression()
    train_module(whole, draw, tmp_path / "a", options(), label="test")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train_module(broken, draw, tmp_path / "b", options(num_workers=workers), label="test")
    assert (tmp_path / "b" / CHECKPOINT).exists()
    history = train_module(resumed, draw, tmp_path / "b", options(num_workers=workers), label="test")
    assert resumed.seen == whole.seen[8:]
    assert torch.equal(whole.layer.weight, resumed.layer.weight)
    assert [row["step"] for row in history] == [1, 5, 10, 15, 20]


def test_the_learning_rate_rises_then_falls_to_its_final_ratio():
    chosen = options(max_steps=100, warmup_steps=10, final_ratio=0.1)
    assert chosen.factor(0, 0.0) == pytest.approx(0.1)
    assert chosen.factor(9, 0.0) == pytest.approx(1.0)
    assert chosen.factor(99, 1.0) == pytest.approx(0.1)


def test_time_ends_a_training(tmp_path: Path):
    history = train_module(Regression(), draw, tmp_path, options(max_steps=10**6, max_minutes=0.02), label="test")
    assert 1 < history[-1]["step"] < 10**6


def test_a_loss_that_is_no_number_is_an_error_with_the_step(tmp_path: Path):
    def broken(rng: np.random.Generator):
        x, y = draw(rng)
        return x, y * float("nan")

    with pytest.raises(DataError, match="loss is nan at step 1, expected a number: lower learning_rate"):
        train_module(Regression(), broken, tmp_path, options(), label="test")


def test_samples_reach_tensorboard(tmp_path: Path):
    asked = []

    def samples():
        asked.append(1)
        return {"tone": Audio(samples=np.zeros(160, np.float32), sample_rate=16000)}

    train_module(Regression(), draw, tmp_path, options(max_steps=6, sample_every=3), label="test", samples=samples)
    assert len(asked) == 2


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path):
    path = tmp_path / CHECKPOINT
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"last\.ckpt: cannot go on from it"):
        train_module(Regression(), draw, tmp_path, options(), label="test")


@pytest.mark.parametrize("wrong", [{"max_steps": 0}, {"max_minutes": -1.0}, {"learning_rate": 0.0}])
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        options(**wrong)


def test_a_module_knows_its_share_of_the_training(tmp_path: Path):
    seen = []

    class Watching(Regression):
        def training_step(self, batch, index):
            seen.append(progress_of(self))
            return super().training_step(batch, index)

    train_module(Watching(), draw, tmp_path, options(max_steps=4), label="test")
    assert seen == [0, 0.25, 0.5, 0.75]
