"""A small training as a program of its own, which starts as many processes as it is told.

    python train_on_ranks.py JSON

The JSON has ``shards`` and ``out``; ``options`` of FitOptions and ``feed`` of FeedOptions; ``lora`` for adapters;
``stages`` for the end of a stage that trains the head alone; ``ids`` for a file that gets the ids of each batch.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from stlm.codec import Codec
from stlm.config.build import build_optimizer
from stlm.feed import FeedOptions, FeedSource
from stlm.interfaces.backbone import AdaptableBackbone, LoraOptions
from stlm.interleave import Unimodal, WordSpans
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions, fit
from stlm.lightning.schedule import Schedule
from stlm.lightning.tuning import TuningOptions, TuningStage, prepare
from stlm.plugin import default_registry
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import tiny_system

OPTIMIZER = {"_target_": "torch.optim.AdamW", "lr": 1e-2, "weight_decay": 0.1}


class Ids(pl.Callback):
    """Writes the ids of each rank's batches, one line a batch."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch, batch_idx: int) -> None:
        with Path(f"{self.path}-{trainer.global_rank}").open("a") as file:
            file.write(json.dumps([trainer.global_step, batch.ids.tolist()]) + "\n")


def llama_system() -> SpeechTextLM:
    """The system of fakes with a Llama of two layers."""
    system = tiny_system()
    options = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48, "max_positions": 128}
    vocabulary = len(system.codec.format.vocabulary)
    system.backbone = default_registry().build("backbone", "llama", {"vocab_size": vocabulary, "seed": 0, **options})
    system.components = {"text": "stlm/bytes", "encoders/energy": "stlm/energy", "backbone": "stlm-llama/llama"}
    return system


def sources_of(shards: str) -> list[FeedSource]:
    found = ShardSet(shards)
    return [
        FeedSource(name="speech", shards=found, interleaver=Unimodal("speech")),
        FeedSource(name="mixed", shards=found, interleaver=WordSpans(text_words=(1, 3), speech_words=(1, 3))),
    ]


def codec_of() -> Codec:
    return tiny_system().codec


def data_of(shards: str, num_workers: int = 0, **feed) -> FeedDataModule:
    options = FeedOptions(**{"length": 64, "rows": 2, "num_streams": 4, "pool": 4, "seed": 3, **feed})
    return FeedDataModule(partial(sources_of, shards), codec_of, options, num_workers=num_workers)


def main(job: dict) -> None:
    torch.set_num_threads(1)
    system = llama_system()
    if job.get("lora"):
        assert isinstance(system.backbone, AdaptableBackbone)
        system.backbone.add_lora(LoraOptions(rank=2, trained_rows=(0, 1)))
    options = FitOptions(
        **{"precision": "32-true", "accelerator": "cpu", "checkpoint_every": 3, "progress": False, **job["options"]}
    )
    stages = (TuningStage(until=job["stages"], train=("embed_tokens",)),) if job.get("stages") else ()
    fit(
        system,
        data_of(job["shards"], **job.get("feed", {})),
        build_optimizer(OPTIMIZER),
        Schedule(warmup_steps=2, total_steps=12),
        options,
        Path(job["out"]),
        report_every=1,
        callbacks=[prepare(system.backbone, TuningOptions(stages=stages)), Ids(job["ids"])],
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
