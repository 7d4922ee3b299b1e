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
from stlm.lightning.pretrain import LanguageModelModule, Schedule
from stlm.store import ShardSet
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards
from stlm.testing.tiny_backbone import TinyBackbone

MUON = {"name": "muon", "lr": 1e-2}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-2, "weight_decay": 0.1}


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    system = tiny_system()
    corpus = make_corpus(24, streams=tuple(system.codec.streams.values()))
    write_shards(tmp_path / "shards", corpus, group_size=4)
    return tmp_path / "shards"


def run(
    system: SpeechTextLM, shards: Path, out: Path, *, steps: int, optimizer: dict[str, object], **more: bool
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
        max_steps=steps, precision="32-true", accelerator="cpu", checkpoint_every=5, progress=False, **more
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


def test_a_run_is_not_replaced_unless_it_is_said(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(tiny_system(), shards, out, steps=2, optimizer=ADAMW)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"holds a run already.*trainer.resume=true.*trainer.overwrite=true"):
        run(tiny_system(), shards, out, steps=2, optimizer=ADAMW)
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "run.json").unlink()  # as if the run had ended before its record
    with pytest.raises(DataError, match="holds a run already"):
        run(tiny_system(), shards, out, steps=2, optimizer=ADAMW)


def test_overwrite_begins_anew_and_resumes_from_the_new_run(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(tiny_system(), shards, out, steps=7, optimizer=ADAMW)
    assert run(tiny_system(), shards, out, steps=3, optimizer=ADAMW, overwrite=True).steps == 3
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_run_that_fails_before_its_first_step_leaves_the_old_one_whole(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run(tiny_system(), shards, out, steps=2, optimizer=ADAMW)
    record = (out / "run.json").read_bytes()
    monkeypatch.setattr(LanguageModelModule, "training_step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tiny_system(), shards, out, steps=2, optimizer=ADAMW, overwrite=True)
    assert (out / "run.json").read_bytes() == record
    assert (out / "checkpoints" / "last.ckpt").exists() and (out / "backbone").exists()


@pytest.mark.parametrize("name", ["text/notes.txt", "run.json"])
def test_what_is_no_run_is_never_replaced(shards: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "run" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="which is not of a training run: choose another out"):
            run(tiny_system(), shards, tmp_path / "run", steps=2, optimizer=ADAMW, overwrite=overwrite)
    assert mine.read_text() == "{}"


@pytest.mark.parametrize("content", [b"", b"garbage", "cut"], ids=["empty", "garbage", "truncated"])
def test_a_damaged_checkpoint_is_one_line(shards: Path, tmp_path: Path, content: bytes | str) -> None:
    run(tiny_system(), shards, tmp_path / "run", steps=2, optimizer=ADAMW)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:2000] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"last.ckpt: cannot be read as a checkpoint .*: it is damaged"):
        run(tiny_system(), shards, tmp_path / "run", steps=4, resume=True, optimizer=ADAMW)


def test_another_backbone_or_optimizer_is_refused(shards: Path, tmp_path: Path) -> None:
    run(tiny_system(), shards, tmp_path / "run", steps=2, optimizer=ADAMW)
    with pytest.raises(FormatError, match=r"optimizer.* was .*, is "):
        run(tiny_system(), shards, tmp_path / "run", steps=4, resume=True, optimizer=MUON)
    wider = tiny_system()
    wider.backbone = TinyBackbone(len(wider.codec.format.vocabulary), width=24)
    with pytest.raises(FormatError, match=r"weights.backbone.* was \[.*\], is \["):
        run(wider, shards, tmp_path / "run", steps=4, resume=True, optimizer=ADAMW)
