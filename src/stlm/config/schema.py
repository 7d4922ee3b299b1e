"""Typed configurations. Hydra composes YAML; these dataclasses say which fields exist and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from stlm.errors import ConfigError

FROM_INIT = ("text_encoder", "unit_encoders", "vocoder", "backbone", "format")
"""Parts of a training that come from the run in `init` where there is one."""


def _check(config: Any, *, paths: tuple[str, ...] = (), positive: tuple[str, ...] = ()) -> None:
    """Raise ConfigError for an empty path or a number below 1."""
    for name in paths:
        if getattr(config, name) == "":
            raise ConfigError(f"{name} is empty: name a directory, {name}=DIR")
    for name in positive:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} must be at least 1, got {getattr(config, name)}")


@dataclass
class FeedConfig:
    """Batch geometry; see `stlm.feed.FeedOptions`."""

    length: int = 4096
    rows: int = 8
    num_streams: int = 1
    packing: str = "best_fit"
    pool: int = 64
    num_workers: int = 0


@dataclass
class DataConfig:
    """Directories that experiments refer to: shards by what they hold, and the unit encoders."""

    speech: str | None = None
    text: str | None = None
    paired: str | None = None
    units: str | None = None


@dataclass
class MixtureSource:
    """One ingredient: a directory of shards, a policy, and its share of the tokens."""

    shards: str = MISSING
    interleaver: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass
class ScheduleConfig:
    """Learning-rate schedule; see `stlm.lightning.schedule.Schedule`."""

    shape: str = "cosine"
    warmup_steps: int = 100
    final_ratio: float = 0.1


@dataclass
class TrainerConfig:
    """How to run; see `stlm.lightning.fit.FitOptions`."""

    max_steps: int = 1000
    max_seconds: float | None = None
    max_tokens: int | None = None
    precision: str = "auto"
    accelerator: str = "auto"
    devices: Any = 1
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
    loggers: list[str] = field(default_factory=lambda: ["csv", "tensorboard"])
    resume: Any = False
    overwrite: bool = False
    progress: bool = True
    loss_chunk: int = 8192
    report_every: int = 10


@dataclass
class LoraConfig:
    """Low-rank adaptation; `trained_rows` names vocabulary blocks whose rows are trained too."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    modules: list[str] = field(default_factory=list)
    trained_rows: list[str] = field(default_factory=list)


@dataclass
class StageConfig:
    """A stage of `TuningConfig`: what is trained in the steps before `until`."""

    until: int = MISSING
    train: list[str] = field(default_factory=list)


@dataclass
class TuningConfig:
    """What is trained, and how fast; see `stlm.lightning.tuning`. `rows` names vocabulary blocks."""

    train: list[str] = field(default_factory=list)
    stages: list[StageConfig] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)


@dataclass
class TrainConfig:
    """`stlm train`: the language model.

    `init` names a run directory to start from; then text_encoder, unit_encoders, backbone and format come from there.
    """

    out: str = "runs/train"
    seed: int = 0
    init: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    text_encoder: dict[str, Any] = field(default_factory=dict)
    unit_encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    vocoder: dict[str, Any] | None = None
    backbone: dict[str, Any] = field(default_factory=dict)
    format: dict[str, Any] = field(default_factory=dict)
    mixture: dict[str, MixtureSource] = field(default_factory=dict)
    validation: dict[str, MixtureSource] = field(default_factory=dict)
    validation_documents: int = 256
    feed: FeedConfig = field(default_factory=FeedConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    lora: LoraConfig | None = None
    tuning: TuningConfig = field(default_factory=TuningConfig)

    def __post_init__(self) -> None:
        _check(self, paths=("out",))


@dataclass
class PrepareConfig:
    """`stlm prepare`: a corpus to shards."""

    out: str = MISSING
    source: dict[str, Any] = field(default_factory=dict)
    unit_encoders: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    runner: dict[str, Any] = field(default_factory=lambda: {"name": "local"})
    num_shards: int = 8
    group_size: int = 256
    batch_size: int = 16
    batch_seconds: float = 240.0
    longest: float = 3600.0
    readers: int = 1

    def __post_init__(self) -> None:
        _check(self, paths=("out",), positive=("num_shards", "group_size", "batch_size", "batch_seconds", "readers"))


@dataclass
class RecipeConfig:
    """`stlm train recipe=NAME`: a tokenizer or a vocoder."""

    out: str = MISSING
    recipe: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    limit: int = 0
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        _check(self, paths=("out",))


@dataclass
class EvaluateConfig:
    """`stlm evaluate`."""

    system: str = MISSING
    out: str | None = None
    tasks: list[dict[str, Any]] = field(default_factory=list)
    span: str = "continuation"
    reduce: str = "mean"


@dataclass
class ResynthesizeConfig:
    """`stlm resynthesize`: recordings through units and back, judged."""

    out: str = MISSING
    source: dict[str, Any] = field(default_factory=dict)
    judge: dict[str, Any] | None = None
    classifier: dict[str, Any] | None = None
    f0_extractor: dict[str, Any] | None = None
    label: str = MISSING
    limit: int = MISSING
    num_examples: int = MISSING
    durations: str = MISSING
    seed: int = MISSING

    def __post_init__(self) -> None:
        _check(self, paths=("out",), positive=("limit",))


@dataclass
class DemoConfig:
    """`stlm demo`: the whole road. ``configs/demo.yaml`` holds every default and says what it means."""

    out: str = MISSING
    data: str | None = None
    system: str | None = None
    checkpoint: str | None = None
    minutes: float = MISSING
    seed: int = MISSING
    source: dict[str, Any] = field(default_factory=dict)
    speech_stories: int = MISSING
    text_stories: int = MISSING
    tuning_sentences: int = MISSING
    unit_recipe: dict[str, Any] = field(default_factory=dict)
    unit_recipe_utterances: int = MISSING
    unit_encoder: str = MISSING
    vocoder: str = MISSING
    bpe_recipe: dict[str, Any] = field(default_factory=dict)
    text_encoder: str = MISSING
    group_size: int = MISSING
    backbone: dict[str, Any] = field(default_factory=dict)
    format: dict[str, Any] = field(default_factory=dict)
    interleaver: dict[str, Any] = field(default_factory=dict)
    feed: FeedConfig = field(default_factory=FeedConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    pretrain_share: float = MISSING
    tune_share: float = MISSING
    lora: LoraConfig = field(default_factory=LoraConfig)
    lora_optimizer: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_recognised: int = MISSING
    num_samples: int = MISSING

    def __post_init__(self) -> None:
        _check(self, paths=("out",), positive=("group_size",))
