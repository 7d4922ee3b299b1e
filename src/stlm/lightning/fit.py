"""One training run: a system, its data and its options in; a run directory out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from stlm.checkpoint import save_system, write_run_file
from stlm.errors import ConfigError
from stlm.learn.machine import keep_freed_memory, resolve_precision, return_freed_memory
from stlm.lightning.data import FeedDataModule
from stlm.lightning.optimizers import OptimizerFactory
from stlm.lightning.pretrain import LanguageModelModule, Schedule
from stlm.lightning.progress import TokenProgress
from stlm.lightning.resume import RunRecord, check_checkpoint, check_directory, find_checkpoint
from stlm.lightning.strategy import TimeBudget
from stlm.system import SpeechTextLM


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to run a training.

    Args:
        max_steps: optimizer steps.
        max_seconds: if set, the number of steps is lowered to what fits into it, by the pace of the first steps.
        precision: "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true".
        accelerator, devices, num_nodes, strategy: as Lightning's Trainer takes them.
        accumulate: batches per optimizer step.
        clip: largest gradient norm.
        checkpoint_every: steps between checkpoints; the last step has one in any case.
        resume: go on from ``checkpoints/last.ckpt`` of the run directory.
        overwrite: replace a run that is in the directory; `resume` goes before it.
        progress: show the bar.
    """

    max_steps: int = 1000
    max_seconds: float | None = None
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    accumulate: int = 1
    clip: float = 1.0
    checkpoint_every: int = 1000
    resume: bool = False
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("max_steps", "num_nodes", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer: {name} must be at least 1, got {getattr(self, name)}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"trainer: max_seconds must be above 0, or null for no limit, got {self.max_seconds}")
        if not self.clip >= 0:
            raise ConfigError(f"trainer: clip must be at least 0 (0 clips nothing), got {self.clip}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What a run did."""

    steps: int
    tokens_seen: Mapping[str, int]
    history: Sequence[Mapping[str, float]] = field(default_factory=list)


def fit(
    system: SpeechTextLM,
    data: FeedDataModule,
    optimizer: OptimizerFactory,
    schedule: Schedule,
    options: FitOptions,
    directory: Path,
    *,
    config: Mapping[str, Any] | None = None,
    label: str = "train",
    loss_chunk: int = 8192,
    report_every: int = 10,
) -> FitReport:
    """Train the system's backbone and write the run directory.

    Raises:
        ConfigError: an option is out of range, or the machine has no such device.
        DataError: resume was asked for, but there is no sound checkpoint; or it was not, and the directory is taken.
        FormatError: the checkpoint was trained with another format, tokenizer, encoder, backbone, optimizer or mixture.
    """
    check_directory(directory, resume=options.resume, overwrite=options.overwrite)
    keep_freed_memory()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its tips would tear the progress bar
    directory.mkdir(parents=True, exist_ok=True)
    resume_from = find_checkpoint(directory, system, config or {}) if options.resume else None
    module = LanguageModelModule(
        system.backbone, system.codec, optimizer, schedule, loss_chunk=loss_chunk, report_every=report_every
    )
    if resume_from is not None:
        check_checkpoint(resume_from, module)
    progress = TokenProgress(label, options.progress)
    record = RunRecord(
        partial(write_run_file, directory, system.codec, dict(system.components), config),
        replaced=None if options.resume else directory,
    )
    trainer = _trainer(options, directory, [progress, record], report_every)
    with warnings.catch_warnings():
        _silence_known()
        system.backbone.train()
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=resume_from is not None)
    system.backbone.eval()
    if trainer.is_global_zero:
        save_system(system, directory, config)
    names = ("markers", "text", "speech")
    seen = dict(zip(names, module.tokens_seen.tolist(), strict=True))  # pyright: ignore[reportCallIssue]
    report = FitReport(steps=trainer.global_step, tokens_seen=seen, history=progress.history)
    del trainer, module
    return_freed_memory()
    return report


def _trainer(options: FitOptions, directory: Path, callbacks: list[pl.Callback], report_every: int) -> pl.Trainer:
    checkpoints = ModelCheckpoint(
        directory / "checkpoints",
        save_last=True,
        every_n_train_steps=options.checkpoint_every,
        save_top_k=0,
        enable_version_counter=False,  # there is one last.ckpt, also after the directory was moved
    )
    budget = [TimeBudget(options.max_seconds)] if options.max_seconds is not None else []
    make = partial(
        pl.Trainer,
        default_root_dir=directory,
        max_steps=options.max_steps,
        precision=resolve_precision(options.precision),  # pyright: ignore[reportArgumentType]
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=options.strategy,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.clip,
        callbacks=[*callbacks, checkpoints, *budget],
        logger=[
            CSVLogger(directory / "logs", name="", version=_next_log(directory / "logs")),
            TensorBoardLogger(directory, name="tensorboard", version=""),
        ],
        log_every_n_steps=report_every,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    try:
        return make()
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        line = f"{error} ".splitlines()[0].strip() or type(error).__name__
        chosen = f"accelerator={options.accelerator}, devices={options.devices}, strategy={options.strategy}"
        raise ConfigError(f"trainer: {chosen}: {line}") from error


def _next_log(directory: Path) -> str:
    """A fresh folder name, so that a resumed run keeps the curves of what went before."""
    return f"part-{len(list(directory.glob('part-*'))):02d}"


def _silence_known() -> None:
    """Lightning's remarks that do not apply: the feed resumes by its own cursor and reads here on purpose."""
    for message in (
        ".*does not have many workers.*",
        ".*resumable.*",
        ".*Checkpoint directory.*",
        ".*litlogger.*",
        ".*isinstance.*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message)
