"""What trainings in these tests share: small shards, and a short run of the tiny system on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from stlm.config.build import build_optimizer
from stlm.feed import FeedOptions, FeedSource
from stlm.interfaces.batch import PackedBatch
from stlm.interleave import Unimodal, WordSpans
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions, FitReport, fit
from stlm.lightning.schedule import Schedule
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards

FEED = {"length": 64, "rows": 2, "num_streams": 1, "pool": 4, "seed": 3}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-2, "weight_decay": 0.1}
SCHEDULE = Schedule(warmup_steps=2, total_steps=12)
Train = Callable[..., FitReport]


class Batches(pl.Callback):
    """Keeps the batches that a run was given, and the step that each was part of."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, PackedBatch]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        self.seen.append((trainer.global_step + 1, batch))


@pytest.fixture
def batches() -> Batches:
    return Batches()


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 utterances with energy units, in 6 row-groups."""
    corpus = make_corpus(24, streams=tuple(tiny_system().codec.streams.values()))
    directory = tmp_path_factory.mktemp("shards")
    write_shards(directory, corpus, group_size=4)
    return directory


@pytest.fixture
def sources(shards: Path) -> list[FeedSource]:
    found = ShardSet(shards)
    return [
        FeedSource(name="speech", shards=found, interleaver=Unimodal("speech")),
        FeedSource(name="mixed", shards=found, interleaver=WordSpans(text_words=(1, 3), speech_words=(1, 3))),
    ]


@pytest.fixture
def train(sources: list[FeedSource], tmp_path: Path) -> Train:
    """Trains a system in `tmp_path`; other options are those of `FitOptions`."""

    def run(
        system: SpeechTextLM,
        *,
        out: str = "run",
        mixture: Sequence[FeedSource] = sources,
        feed: Mapping[str, Any] = FEED,
        schedule: Schedule = SCHEDULE,
        callbacks: Sequence[pl.Callback] = (),
        loss_chunk: int = 8192,
        **options: Any,
    ) -> FitReport:
        data = FeedDataModule(lambda: mixture, lambda: system.codec, FeedOptions(**{**FEED, **feed}))
        plain = {"precision": "32-true", "accelerator": "cpu", "progress": False, "max_steps": 4}
        return fit(
            system,
            data,
            build_optimizer(ADAMW),
            schedule,
            FitOptions(**{**plain, **options}),
            tmp_path / out,
            report_every=1,
            loss_chunk=loss_chunk,
            callbacks=callbacks,
        )

    return run
