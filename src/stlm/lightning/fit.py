"""One training run: a system, its data and its options in; a run directory out."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from stlm.checkpoint import save_system, write_run_file
from stlm.errors import ConfigError, DataError
from stlm.learn.machine import keep_freed_memory, resolve_precision, return_freed_memory
from stlm.lightning.checkpoints import Checkpoints
from stlm.lightning.data import CorpusAccount, FeedDataModule
from stlm.lightning.guard import is_out_of_memory, out_of_memory
from stlm.lightning.optimizers import OptimizerFactory
from stlm.lightning.pretrain import LanguageModelModule
from stlm.lightning.progress import TokenProgress
from stlm.lightning.resume import RunRecord, check_checkpoint, check_directory, find_checkpoint
from stlm.lightning.samples import Samples
from stlm.lightning.schedule import Schedule
from stlm.lightning.sharding import PRODUCTS, gather, prepare
from stlm.lightning.strategy import FSDP2, Budget, WholeSteps, batches_per_step, make_strategy
from stlm.lightning.throughput import step_cost
from stlm.lightning.tuning import Freezing
from stlm.system import SpeechTextLM

LOGGERS = ("csv", "tensorboard", "wandb")
ACCOUNTS = "accounts.json"
"""Tokens trained on, by block and by corpus, beside ``run.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How to run a training.

    Args:
        max_steps: optimizer steps.
        max_seconds: if set, the number of steps is lowered to what fits into it, by the pace of the first steps.
        max_tokens: if set, the run stops with the step that reaches so many tokens, padding not counted.
        precision: "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true".
        accelerator, devices, num_nodes: as Lightning's Trainer takes them.
        strategy: "auto", "ddp", "fsdp2", or another of Lightning's.
        batch_rows: rows of an optimizer step over all ranks; 0: as `accumulate` says.
        accumulate: batches of each rank in an optimizer step.
        activation_checkpointing: compute each layer again in the backward pass.
        compile: by torch.compile, layer by layer.
        clip: largest gradient norm.
        spike: stop where the loss leaps by so many nats above its recent mean; None: never.
        checkpoint_every: steps between checkpoints; the last step has one in any case.
        keep_every: steps between checkpoints that stay, ``checkpoints/step-N.ckpt``; 0: the last one alone.
        sharded_checkpoints: with fsdp2, each rank writes its part.
        validate_every: steps between held-out losses, where there are held-out sets; 0: after the last step alone.
        sample_every: steps between samples of text and audio; 0: none.
        loggers: "csv", "tensorboard", "wandb".
        resume: go on from ``checkpoints/last.ckpt`` of the run directory, or from the checkpoint of this path.
        overwrite: replace a run that is in the directory; `resume` goes before it.
        progress: show the bar.
    """

    max_steps: int = 1000
    max_seconds: float | None = None
    max_tokens: int | None = None
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int | str = 1
    num_nodes: int = 1
    strategy: str = "auto"
    batch_rows: int = 0
    accumulate: int = 1
    activation_checkpointing: bool = False
    compile: bool = False
    clip: float = 1.0
    spike: float | None = 3.0
    checkpoint_every: int = 1000
    keep_every: int = 0
    sharded_checkpoints: bool = True
    validate_every: int = 0
    sample_every: int = 0
    loggers: Sequence[str] = ("csv", "tensorboard")
    resume: bool | str = False
    overwrite: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("max_steps", "num_nodes", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"trainer: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("batch_rows", "keep_every", "validate_every", "sample_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"trainer: {name} must be at least 0, got {getattr(self, name)}")
        for name in ("max_tokens", "spike"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ConfigError(f"trainer: {name} must be above 0, or null, got {getattr(self, name)}")
        if unknown := [name for name in self.loggers if name not in LOGGERS]:
            raise ConfigError(f"trainer: loggers are of {', '.join(LOGGERS)}, got {unknown[0]!r}")
        if self.sample_every and self.strategy == FSDP2:
            raise ConfigError(
                "trainer: sample_every needs the whole model on each device, which strategy=fsdp2 does not have: set "
                "it to 0 and generate from the finished run"
            )
        if self.sample_every and "tensorboard" not in self.loggers:
            raise ConfigError(
                f"trainer: sample_every writes to tensorboard, but loggers are {', '.join(self.loggers) or 'none'}: "
                "add tensorboard to them, or set sample_every to 0"
            )
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"trainer: max_seconds must be above 0, or null for no limit, got {self.max_seconds}")
        if not self.clip >= 0:
            raise ConfigError(f"trainer: clip must be at least 0 (0 clips nothing), got {self.clip}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What a run did: optimizer steps, tokens by modality and by vocabulary block, what each corpus gave, the curve."""

    steps: int
    tokens_seen: Mapping[str, int]
    tokens_by_block: Mapping[str, int] = field(default_factory=dict)
    corpora: Sequence[CorpusAccount] = ()
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
    callbacks: Sequence[pl.Callback] = (),
) -> FitReport:
    """Train the system's backbone and write the run directory.

    Raises:
        ConfigError: an option is out of range, or the machine has no such device.
        DataError: resume was asked for, but there is no sound checkpoint; or it was not, and the directory is taken;
            or a step would have spoilt the weights, or did not fit into memory.
        FormatError: the checkpoint was trained with another format, tokenizer, encoder, backbone, optimizer or mixture.
    """
    check_directory(directory, resume=bool(options.resume), overwrite=options.overwrite)
    keep_freed_memory()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its tips would tear the progress bar
    directory.mkdir(parents=True, exist_ok=True)
    resume_from = find_checkpoint(directory, system, config or {}, options.resume) if options.resume else None
    precision = resolve_precision(options.precision)
    module = LanguageModelModule(
        system.backbone,
        system.codec,
        optimizer,
        schedule,
        loss_chunk=loss_chunk,
        report_every=report_every,
        clip=options.clip,
        spike=options.spike,
        prepare=partial(
            prepare,
            precision=precision,
            is_sharded=options.strategy == FSDP2,
            recompute=options.activation_checkpointing,
            compiled=options.compile,
        ),
    )
    if resume_from is not None:
        check_checkpoint(resume_from, module)
    for freezing in (callback for callback in callbacks if isinstance(callback, Freezing)):
        freezing.resumed_from = resume_from
    progress = TokenProgress(label, options.progress, step_cost(system.backbone))
    record = RunRecord(
        partial(write_run_file, directory, system.codec, dict(system.components), config),
        replaced=None if options.resume else directory,
    )
    more = [Samples(system, every=options.sample_every)] if options.sample_every else []
    trainer = _trainer(options, precision, directory, [*callbacks, WholeSteps(), progress, record, *more], report_every)
    trainer.accumulate_grad_batches = batches_per_step(
        options.batch_rows, data.options.rows, trainer.world_size, options.accumulate
    )
    with warnings.catch_warnings():
        _silence_known()
        system.backbone.train()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=resume_from is not None)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DataError(out_of_memory(module, error)) from error
    system.backbone.eval()
    gather(system.backbone, keep=trainer.is_global_zero)
    corpora = data.account()
    report = FitReport(
        steps=trainer.global_step,
        tokens_seen=module.tokens_by_modality(),
        tokens_by_block=module.tokens_by_block(),
        corpora=corpora,
        history=progress.history,
    )
    if trainer.is_global_zero:
        save_system(system, directory, config)
        _write_accounts(directory / ACCOUNTS, report)
    trainer.strategy.barrier()
    del trainer, module
    return_freed_memory()
    return report


def _write_accounts(path: Path, report: FitReport) -> None:
    """The tokens that a run was trained on, by block and by corpus."""
    content = {
        "steps": report.steps,
        "tokens": {**report.tokens_seen, **report.tokens_by_block},
        "corpora": [asdict(corpus) for corpus in report.corpora],
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def _trainer(
    options: FitOptions, precision: str, directory: Path, callbacks: list[pl.Callback], report_every: int
) -> pl.Trainer:
    has_budget = options.max_seconds is not None or options.max_tokens is not None
    budget = [Budget(options.max_seconds, options.max_tokens)] if has_budget else []
    is_staged = any(callback.is_staged for callback in callbacks if isinstance(callback, Freezing))
    is_sharded = options.strategy == FSDP2
    checkpoints = Checkpoints(directory / "checkpoints", every=options.checkpoint_every, keep_every=options.keep_every)
    make = partial(
        pl.Trainer,
        default_root_dir=directory,
        max_steps=options.max_steps,
        # fsdp2 brings weights into half precision itself, as it gathers them
        precision="32-true" if is_sharded and precision in PRODUCTS else precision,  # pyright: ignore
        accelerator=options.accelerator,
        devices=options.devices,
        num_nodes=options.num_nodes,
        strategy=make_strategy(options.strategy, sharded_checkpoints=options.sharded_checkpoints, is_staged=is_staged),
        callbacks=[*budget, *callbacks, checkpoints],  # a budget says which step is the last, so it comes first
        logger=[make_logger(name, directory) for name in options.loggers],
        # left to itself Lightning saves in the middle of a step when SLURM sends a signal, and loads that unasked
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
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


def make_logger(name: str, directory: Path) -> Logger:
    """A logger by its name.

    Raises:
        ConfigError: Weights & Biases is asked for and not installed.
    """
    if name == "csv":
        return CSVLogger(directory / "logs", name="", version=_next_log(directory / "logs"))
    if name == "tensorboard":
        return TensorBoardLogger(directory, name="tensorboard", version="")
    try:
        return WandbLogger(name=directory.name, save_dir=directory)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "trainer: logger 'wandb' needs the package wandb: pip install wandb, or leave it out of trainer.loggers"
        ) from error


def _next_log(directory: Path) -> str:
    """A fresh folder name, so that a resumed run keeps the curves of what went before."""
    return f"part-{len(list(directory.glob('part-*'))):02d}"


def _silence_known() -> None:
    """Lightning's remarks that do not apply: the feed resumes by its own cursor and reads here on purpose."""
    for message in (
        ".*does not have many workers.*",
        ".*resumable.*",
        ".*litlogger.*",
        ".*add the following callbacks.*",  # a run may go on without the budget that it began with
        ".*isinstance.*LeafSpec.*",
    ):
        warnings.filterwarnings("ignore", message)
