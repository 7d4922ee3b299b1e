"""Samples of text and audio in TensorBoard, and which loggers there are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stlm.errors import ConfigError
from stlm.lightning.fit import FitOptions
from stlm.lightning.samples import Samples
from stlm.testing.factories import tiny_system

PARTS = ("document", "first half", "what the model writes")


def board(out: Path) -> EventAccumulator:
    found = EventAccumulator(str(out / "tensorboard"), size_guidance={"tensors": 0, "audio": 0})
    found.Reload()
    return found


def texts(found: EventAccumulator, part: str) -> list[tuple[int, str]]:
    events = found.Tensors(f"sample 0/{part}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in events]


def test_text_and_audio_are_in_tensorboard(train: Any, batches: Any, tmp_path: Path) -> None:
    system = tiny_system()
    train(system, max_steps=5, sample_every=2, callbacks=[batches])
    found = board(tmp_path / "run")
    assert {f"sample {number}/{part}/text_summary" for number in (0, 1) for part in PARTS} <= set(
        found.Tags()["tensors"]
    )
    first = batches.seen[0][1]
    ids = first.ids[0][first.segments[0] == 1].numpy()
    whole, half = (system.codec.to_string(system.codec.decode(part)) for part in (ids, ids[: len(ids) // 2]))
    assert texts(found, "document") == [(2, f"`{whole}`"), (4, f"`{whole}`")]
    assert texts(found, "first half") == [(2, f"`{half}`"), (4, f"`{half}`")]
    assert [step for step, _ in texts(found, "what the model writes")] == [2, 4]
    heard = found.Audio("sample 0/document")
    assert [event.step for event in heard] == [2, 4]
    assert heard[0].sample_rate == 16000 and heard[0].encoded_audio_string[:4] == b"RIFF"
    assert heard[0].length_frames > 0


@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_does_not_notice_them(train: Any, accumulate: int) -> None:
    plain, sampled = tiny_system(), tiny_system()
    one = train(plain, out="plain", accumulate=accumulate)
    two = train(sampled, sample_every=1, accumulate=accumulate)
    assert [row["loss"] for row in one.history] == [row["loss"] for row in two.history]
    for name, weight in plain.backbone.state_dict().items():
        assert torch.equal(weight, sampled.backbone.state_dict()[name]), name


def test_a_system_without_a_vocoder_writes_text_alone(train: Any, tmp_path: Path) -> None:
    system = tiny_system()
    system.vocoder = None
    train(system, max_steps=1, sample_every=1)
    found = board(tmp_path / "run")
    assert len(texts(found, "document")) == 1 and not found.Tags()["audio"]


def test_samples_without_tensorboard_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^trainer: sample_every writes to tensorboard, .* loggers are csv"):
        FitOptions(sample_every=10, loggers=["csv"])


def test_a_sharded_model_gives_no_samples() -> None:
    with pytest.raises(ConfigError, match=r"^trainer: sample_every needs the whole model on each device"):
        FitOptions(sample_every=10, strategy="fsdp2")
    with pytest.raises(ConfigError, match=r"^trainer: sample_every must be at least 1, got 0"):
        Samples(tiny_system(), every=0)


def test_an_unknown_logger_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^trainer: loggers are of csv, tensorboard, wandb, got 'mlflow'$"):
        FitOptions(loggers=["csv", "mlflow"])


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_logger_that_is_not_installed_is_one_line_and_leaves_no_run(train: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^trainer: logger 'wandb' needs the package wandb: pip install wandb"):
        train(tiny_system(), loggers=["csv", "wandb"])
    assert not (tmp_path / "run" / "run.json").exists()


def test_only_the_loggers_that_were_asked_for_write(train: Any, tmp_path: Path) -> None:
    train(tiny_system(), loggers=["csv"], max_steps=1)
    assert (tmp_path / "run" / "logs" / "part-00" / "metrics.csv").exists()
    assert not (tmp_path / "run" / "tensorboard").exists()
