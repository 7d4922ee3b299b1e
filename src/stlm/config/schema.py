"""Typed configurations. Hydra composes YAML; these dataclasses say which fields exist and of which type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


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
class MixtureSource:
    """One ingredient: a directory of shards, a policy, and its share of the tokens."""

    shards: str = MISSING
    interleaver: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0


@dataclass
class ScheduleConfig:
    """Learning-rate schedule; see `stlm.lightning.pretrain.Schedule`."""

    warmup_steps: int = 100
    final_ratio: float = 0.1


@dataclass
class TrainerConfig:
    """How to run; see `stlm.lightning.fit.FitOptions`."""

    max_steps: int = 1000
    max_seconds: float | None = None
    precision: str = "auto"
    accelerator: str = "auto"
    devices: Any = 1
    num_nodes: int = 1
    strategy: str = "auto"
    accumulate: int = 1
    clip: float = 1.0
    checkpoint_every: int = 1000
    resume: bool = False
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
class TrainConfig:
    """`stlm train`: the language model.

    `init` names a run directory to start from; then text_encoder, unit_encoders, backbone and format come from there.
    """

    out: str = "runs/train"
    seed: int = 0
    init: str | None = None
    text_encoder: dict[str, Any] = field(default_factory=dict)
    unit_encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    vocoder: dict[str, Any] | None = None
    backbone: dict[str, Any] = field(default_factory=dict)
    format: dict[str, Any] = field(default_factory=dict)
    mixture: dict[str, MixtureSource] = field(default_factory=dict)
    feed: FeedConfig = field(default_factory=FeedConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    lora: LoraConfig | None = None


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


@dataclass
class RecipeConfig:
    """`stlm train recipe=NAME`: a tokenizer or a vocoder."""

    out: str = MISSING
    recipe: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateConfig:
    """`stlm evaluate`."""

    system: str = MISSING
    out: str | None = None
    tasks: list[dict[str, Any]] = field(default_factory=list)
    span: str = "continuation"
    reduce: str = "mean"


@dataclass
class DemoConfig:
    """`stlm demo`: the whole road. See ``configs/demo.yaml`` for what each number means."""

    out: str = "runs/demo"
    data: str | None = None
    minutes: float = 14.0
    seed: int = 0
    source: dict[str, Any] = field(default_factory=dict)
    speech_stories: int = 1500
    text_stories: int = 4500
    tuning_sentences: int = 1500
    unit_recipe: dict[str, Any] = field(default_factory=dict)
    unit_recipe_utterances: int = 200
    unit_encoder: str = MISSING
    vocoder: str = MISSING
    bpe_recipe: dict[str, Any] = field(default_factory=dict)
    text_encoder: str = MISSING
    group_size: int = 64
    backbone: dict[str, Any] = field(default_factory=dict)
    format: dict[str, Any] = field(default_factory=dict)
    interleaver: dict[str, Any] = field(default_factory=dict)
    feed: FeedConfig = field(default_factory=FeedConfig)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    pretrain_share: float = 0.33
    tune_share: float = 0.1
    lora: LoraConfig = field(default_factory=LoraConfig)
    lora_optimizer: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    num_recognised: int = 40
    num_samples: int = 4
