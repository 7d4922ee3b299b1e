"""The only translator from configuration to objects. Below this room nobody sees a DictConfig."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stlm.codec import Codec
from stlm.config.schema import (
    FeedConfig,
    LoraConfig,
    MixtureSource,
    ScheduleConfig,
    TrainConfig,
    TrainerConfig,
    TuningConfig,
)
from stlm.errors import ConfigError, FormatError, did_you_mean
from stlm.feed.dataset import FeedOptions
from stlm.feed.stream import FeedSource
from stlm.interfaces.backbone import BackboneLM, LoraOptions
from stlm.interfaces.source import Source
from stlm.interfaces.unit_encoder import SpeechUnitEncoder, TextUnitEncoder, UnitEncoder
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions
from stlm.lightning.optimizers import MuonAdamW, OptimizerFactory, check_rates, decay_groups, set_rates
from stlm.lightning.schedule import Schedule
from stlm.lightning.tuning import TuningOptions, TuningStage
from stlm.lightning.validation import Validation
from stlm.plugin import Choice, default_registry, make_config
from stlm.store import ShardSet
from stlm.system import SpeechTextLM, load
from stlm.types import Format, Rejected, StreamSpec, Utterance

AUTO = "auto"
TARGET_ROOT = "torch.optim."
UnitEncoderT = TypeVar("UnitEncoderT", bound=UnitEncoder)


def build_component(kind: str, config: Mapping[str, Any], **more: Any) -> Any:
    """A component from its config: ``name`` chooses it, the other keys are its options.

    Raises:
        ConfigError: no name, an unknown option, or a value of the wrong type.
        PluginError: nobody offers it.
    """
    choice = build_choice(kind, {**config, **more})
    return default_registry().build(kind, choice.name, choice.options)


def usable(source: Source) -> Iterator[Utterance]:
    """A source's utterances without what it rejects."""
    return (item for item in source.utterances() if not isinstance(item, Rejected))


def build_encoder(role: str, config: Mapping[str, Any], expected: type[UnitEncoderT]) -> UnitEncoderT:
    """A unit encoder for text or for speech.

    Raises:
        ConfigError: it is one for the other.
    """
    built = build_component("unit_encoder", config)
    if not isinstance(built, expected):
        raise ConfigError(f"{role}: {config['name']!r} is a {type(built).__name__}, expected a {expected.__name__}")
    return built


def build_choice(kind: str, config: Mapping[str, Any]) -> Choice:
    """A component's name and typed options, checked here, to be built where it is needed (in a worker process).

    Raises:
        ConfigError: no name, an unknown option, or a value of the wrong type.
        PluginError: nobody offers it.
    """
    options = dict(config)
    name = options.pop("name", None)
    if not name:
        raise ConfigError(f"{kind} has no name: choose one, for example {kind}=NAME (stlm plugins lists them)")
    kind_config = default_registry().config_type(kind, str(name))
    return Choice(name=str(name), options=typed_options(kind_config, options, where=f"{kind} {name!r}"))


def typed_options(kind: type, options: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Options converted to the types of a config dataclass.

    Raises:
        ConfigError: an option is unknown, missing or has the wrong type.
    """
    if not is_dataclass(kind):
        raise ConfigError(f"{where}: its config {kind!r} is not a dataclass")
    known = [entry.name for entry in fields(kind)]
    for key in options:
        if key not in known:
            raise ConfigError(f"{where}: unknown option {key!r}{did_you_mean(key, known)}; options: {', '.join(known)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), dict(options))
        converted = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", "") or ""
        raise ConfigError(f"{where}: {key}: {str(error).splitlines()[0]}") from error
    assert isinstance(converted, dict)
    return {str(key): tuple(value) if isinstance(value, list) else value for key, value in converted.items()}


def component_name(kind: str, config: Mapping[str, Any]) -> str:
    """``dist/name`` of a chosen component, as run files store it."""
    owned = default_registry().find(kind, str(config["name"]))
    return f"{owned.dist}/{owned.component.name}"


def build_format(config: Mapping[str, Any], text: TextUnitEncoder, specs: Mapping[str, StreamSpec]) -> Format:
    """A format; blocks of ``size: auto`` take theirs from the text tokenizer or from the stream of that name."""
    data = {key: value for key, value in config.items() if key != "name"}
    blocks = []
    for block in data.get("blocks", ()):
        filled = dict(block)
        if filled.get("size") == AUTO:
            filled.update(_auto_size(str(filled.get("name")), text, specs))
        blocks.append(filled)
    return Format.from_dict({**data, "blocks": blocks})


def _auto_size(name: str, text: TextUnitEncoder, specs: Mapping[str, StreamSpec]) -> dict[str, int]:
    if name == "text":
        return {"size": text.vocab_size}
    if name not in specs:
        raise FormatError(f"block {name!r} has size auto, but no encoder makes stream {name!r}, only {sorted(specs)}")
    return {"size": max(specs[name].codebook_sizes), "codebooks": specs[name].num_codebooks}


def build_system(config: TrainConfig) -> SpeechTextLM:
    """An untrained system, or the one of ``config.init``; the backbone has a row for every id of the format."""
    if config.init:
        return load(config.init)
    text = build_encoder("text_encoder", config.text_encoder, TextUnitEncoder)
    encoders = {
        name: build_encoder(f"unit_encoders.{name}", options, SpeechUnitEncoder)
        for name, options in config.unit_encoders.items()
    }
    specs = {name: encoder.spec for name, encoder in encoders.items()}
    codec = Codec(build_format(config.format, text, specs), text, specs)
    size = len(codec.format.vocabulary)
    backbone_config = dict(config.backbone)
    if "vocab_size" in backbone_config and not backbone_config["vocab_size"]:
        backbone_config["vocab_size"] = size
    backbone = build_component("backbone", backbone_config)
    backbone.extend(size, torch.Generator().manual_seed(config.seed))
    vocoder = build_component("vocoder", config.vocoder) if config.vocoder else None
    components = {
        "text": component_name("unit_encoder", config.text_encoder),
        "backbone": component_name("backbone", config.backbone),
        **{f"encoders/{name}": component_name("unit_encoder", item) for name, item in config.unit_encoders.items()},
    }
    if config.vocoder:
        components["vocoder"] = component_name("vocoder", config.vocoder)
    return SpeechTextLM(codec, encoders, backbone, vocoder, components)


@dataclass(frozen=True, slots=True)
class MixturePlan:
    """The mixture as plain values: it travels to loader processes and opens the shards there."""

    sources: tuple[tuple[str, str, dict[str, Any], float], ...]
    specs: Mapping[str, StreamSpec]

    def __call__(self) -> Sequence[FeedSource]:
        return [self._source(*entry) for entry in self.sources]

    def _source(self, name: str, shards: str, interleaver: dict[str, Any], weight: float) -> FeedSource:
        policy = build_component("interleaver", interleaver)
        options = build_choice("interleaver", interleaver).options
        opened = ShardSet(shards)
        wanted = [stream for stream in opened.streams if stream in self.specs]
        if len(wanted) < len(opened.streams):
            opened = ShardSet(shards, wanted)
        opened.check_streams(self.specs)
        described = {"name": component_name("interleaver", interleaver), **json.loads(json.dumps(dict(options)))}
        return FeedSource(name=name, shards=opened, interleaver=policy, weight=weight, policy=described)


def check_shards(mixture: Mapping[str, MixtureSource]) -> None:
    """Raise ConfigError for shards that are nowhere, before anything heavy is loaded."""
    for name, item in mixture.items():
        if "://" not in item.shards and not Path(item.shards).is_dir():
            raise ConfigError(f"{name}: {item.shards}: no such directory of shards: make it with stlm prepare out=DIR")


def build_mixture(mixture: Mapping[str, MixtureSource], codec: Codec) -> MixturePlan:
    """The sources of a mixture, to be opened where they are read.

    Raises:
        ConfigError: the mixture is empty.
    """
    if not mixture:
        raise ConfigError("the mixture is empty: add at least mixture.speech.shards=DIR")
    return MixturePlan(
        sources=tuple((name, item.shards, dict(item.interleaver), item.weight) for name, item in mixture.items()),
        specs=codec.streams,
    )


def build_validation(config: TrainConfig, codec: Codec) -> Validation:
    """Held-out losses during training."""
    return Validation(
        build_mixture(config.validation, codec),
        codec,
        every=config.trainer.validate_every,
        num_documents=config.validation_documents,
        rows=config.feed.rows,
        length=config.feed.length,
        seed=config.seed,
    )


def build_data(mixture: Mapping[str, MixtureSource], feed: FeedConfig, codec: Codec, *, seed: int) -> FeedDataModule:
    """The data module of a mixture.

    Raises:
        ConfigError: the mixture is empty.
        FormatError: shards were made by other encoders than the system's.
    """
    plan = build_mixture(mixture, codec)
    options = FeedOptions(
        length=feed.length,
        rows=feed.rows,
        seed=seed,
        num_streams=feed.num_streams,
        packing=feed.packing,
        pool=feed.pool,
    )
    data = FeedDataModule(plan, partial(_same, codec), options, num_workers=feed.num_workers)
    plan()  # bad shards and policies are reported here, not in a loader process
    return data


def _same(codec: Codec) -> Codec:
    return codec


def build_optimizer(config: Mapping[str, Any], rates: Mapping[str, float] | None = None) -> OptimizerFactory:
    """An optimizer factory: ``name: muon``, or ``_target_: torch.optim.NAME``, with its arguments.

    Args:
        config: the optimizer's.
        rates: factors of its learning rate by pattern of parameter names.

    Raises:
        ConfigError: the optimizer is missing, foreign or unknown, or an argument or a factor does not fit.
    """
    rates = dict(rates or {})
    check_rates(rates)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    if options.get("name") == "muon":
        return partial(_make_muon, {key: value for key, value in options.items() if key != "name"}, rates)
    target = str(options.pop("_target_", ""))
    kind = getattr(torch.optim, target.removeprefix(TARGET_ROOT), None) if target.startswith(TARGET_ROOT) else None
    if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
        known = [name for name, value in vars(torch.optim).items() if isinstance(value, type)]
        hint = did_you_mean(target.removeprefix(TARGET_ROOT), known)
        raise ConfigError(f"optimizer must be name: muon or _target_: torch.optim.NAME, got {target or config!r}{hint}")
    return partial(_make_optimizer, kind, options, rates)


def _make_muon(options: dict[str, Any], rates: Mapping[str, float], backbone: BackboneLM) -> torch.optim.Optimizer:
    try:
        return MuonAdamW(backbone, rates=rates, **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer muon: {error}") from error


def _make_optimizer(
    kind: type[torch.optim.Optimizer], options: dict[str, Any], rates: Mapping[str, float], backbone: BackboneLM
) -> torch.optim.Optimizer:
    rest = {key: value for key, value in options.items() if key != "weight_decay"}
    try:
        return set_rates(kind(decay_groups(backbone, options.get("weight_decay", 0.0), rates), **rest))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer {kind.__name__}: {error}") from error


def build_schedule(schedule: ScheduleConfig, trainer: TrainerConfig) -> Schedule:
    return Schedule(
        shape=schedule.shape,
        warmup_steps=schedule.warmup_steps,
        total_steps=trainer.max_steps,
        final_ratio=schedule.final_ratio,
    )


def build_fit_options(config: TrainerConfig) -> FitOptions:
    return make_config(
        FitOptions,
        {entry.name: getattr(config, entry.name) for entry in fields(FitOptions)},
        where="trainer",
    )


def build_lora(config: LoraConfig, codec: Codec, *, seed: int = 0) -> LoraOptions:
    """LoRA options; block names become the ids of their rows."""
    return LoraOptions(
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        modules=tuple(config.modules),
        seed=seed,
        trained_rows=_ids_of(config.trained_rows, codec),
    )


def build_tuning(config: TuningConfig, codec: Codec) -> TuningOptions:
    """What is trained; block names become the ids of their rows."""
    return TuningOptions(
        train=tuple(config.train),
        stages=tuple(TuningStage(until=stage.until, train=tuple(stage.train)) for stage in config.stages),
        rows=_ids_of(config.rows, codec),
    )


def _ids_of(blocks: Sequence[str], codec: Codec) -> tuple[int, ...]:
    """All ids of the named vocabulary blocks, each once."""
    vocabulary = codec.format.vocabulary
    starts = [(vocabulary.offset(name), vocabulary.block(name).num_ids) for name in dict.fromkeys(blocks)]
    return tuple(id for start, count in starts for id in range(start, start + count))


def as_plain(config: Any) -> dict[str, Any]:
    """A config dataclass as a plain mapping, for ``run.json``."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def absolute(path: str | Path) -> str:
    """A path that stays right wherever a worker process runs."""
    return str(Path(path).resolve())
