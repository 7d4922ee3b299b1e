"""The stages of the demo, each a function of the configuration and what came before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stlm.config.build import absolute, build_choice, build_component
from stlm.config.run import run_recipe, train
from stlm.config.schema import DemoConfig, MixtureSource, TrainConfig, TrainerConfig
from stlm.demo.corpus import Corpus, Options
from stlm.errors import ConfigError
from stlm.lightning.fit import FitReport
from stlm.parts import ENCODERS, open_parts
from stlm.prepare import LocalRunner, Prepared, ShardTask, prepare
from stlm.system import SpeechTextLM, load

ROWS = ("interleaved", "no_interleaving")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechParts:
    """How speech becomes units and units speech, as component options.

    Args:
        encoders: by stream.
        vocoder: of their units.
        format: with a block for each stream.
    """

    encoders: Mapping[str, Options]
    vocoder: Options
    format: Options


def speech_parts(config: DemoConfig, corpus: Corpus, out: Path) -> SpeechParts:
    """Those of the system that was chosen, or new ones by the recipe."""
    if config.system:
        return _parts_of(config.system, config.checkpoint)
    run_recipe(config.unit_recipe, corpus.speech, out / "units", limit=config.unit_recipe_utterances)
    path = str((out / "units").resolve())
    encoder = {"name": config.unit_encoder, "path": path}
    stream = build_component("unit_encoder", encoder).spec.name
    return SpeechParts(encoders={stream: encoder}, vocoder={"name": config.vocoder, "path": path}, format=config.format)


def _parts_of(system: str, checkpoint: str | None) -> SpeechParts:
    """Speech parts of a preset or run; its format, with room for the demo's own text tokenizer."""
    parts = open_parts(system, checkpoint and absolute(checkpoint))
    options = {role: {"name": part.name, **part.options} for role, part in parts.parts.items()}
    if "vocoder" not in options:
        raise ConfigError(f"system={system} has no vocoder, and the demo speaks: choose another")
    format = parts.format.as_dict()
    blocks = [{**block, "size": "auto"} if block["name"] == "text" else block for block in format["blocks"]]
    encoders = {role.removeprefix(ENCODERS): value for role, value in options.items() if role.startswith(ENCODERS)}
    return SpeechParts(encoders=encoders, vocoder=options["vocoder"], format={**format, "blocks": blocks})


def train_text(config: DemoConfig, corpus: Corpus, out: Path) -> Options:
    """The text tokenizer by its recipe; returns its options."""
    run_recipe(config.bpe_recipe, corpus.text, out / "text", limit=5000)
    return {"name": config.text_encoder, "path": str((out / "text").resolve())}


def write_shards(config: DemoConfig, corpus: Corpus, parts: SpeechParts, out: Path) -> dict[str, Prepared]:
    """Shards of speech, text and tuning data; on two cores about as fast as 1,000 times real time."""
    runner = LocalRunner()
    encoders = list(parts.encoders.values())
    plans = {"speech": (corpus.speech, encoders), "text": (corpus.text, []), "tuning": (corpus.tuning, encoders)}
    if corpus.tuning == corpus.speech:
        del plans["tuning"]
    found = {}
    for name, (source, encoders) in plans.items():
        task = ShardTask(
            source=build_choice("source", source),
            encoders=[build_choice("unit_encoder", item) for item in encoders],
            out=out / "shards" / name,
            shard=0,
            num_shards=4 * runner.num_workers,
            group_size=config.group_size,
        )
        found[name] = prepare(task, runner, label=f"{name} shards")
    return found


def pretrain(
    config: DemoConfig, corpus: Corpus, parts: SpeechParts, text: Options, out: Path, row: str, *, steps: int | None
) -> FitReport:
    """One row of the table; with `steps`, exactly so many, else as many as the time budget allows."""
    shards = out / "shards"
    mixture = {
        "speech": MixtureSource(shards=str(shards / "speech"), interleaver={"name": "unimodal", "modality": "speech"}),
        "text": MixtureSource(shards=str(shards / "text"), interleaver={"name": "unimodal", "modality": "text"}),
    }
    if row == "interleaved":
        mixture["interleaved"] = MixtureSource(shards=str(shards / "speech"), interleaver=corpus.interleaver)
    seconds = None if steps is not None else config.pretrain_share * config.minutes * 60
    trainer = _trainer(config.trainer, max_seconds=seconds, max_steps=steps)
    plan = TrainConfig(
        out=str(out / row),
        seed=config.seed,
        text_encoder=text,
        unit_encoders={name: dict(encoder) for name, encoder in parts.encoders.items()},
        vocoder=parts.vocoder,
        backbone=config.backbone,
        format=parts.format,
        mixture=mixture,
        feed=config.feed,
        optimizer=config.optimizer,
        schedule=config.schedule,
        trainer=trainer,
    )
    return train(plan, label=row.replace("_", " "))


def tune(config: DemoConfig, out: Path) -> FitReport:
    """LoRA to ASR and TTS, from the interleaved model; the merged model is in ``tuned/``."""
    shards = out / "shards" / ("tuning" if (out / "shards" / "tuning").exists() else "speech")
    plan = TrainConfig(
        out=str(out / "tuned"),
        seed=config.seed,
        init=str(out / "interleaved"),
        mixture={"parallel": MixtureSource(shards=str(shards), interleaver={"name": "parallel", "task": "both"})},
        feed=config.feed,
        optimizer=config.lora_optimizer,
        schedule=replace(config.schedule, warmup_steps=20),
        trainer=_trainer(config.trainer, max_seconds=config.tune_share * config.minutes * 60, max_steps=None),
        lora=config.lora,
    )
    return train(plan, load(out / "interleaved"), label="LoRA to ASR and TTS")


def _trainer(trainer: TrainerConfig, *, max_seconds: float | None, max_steps: int | None) -> TrainerConfig:
    return replace(trainer, max_seconds=max_seconds, max_steps=max_steps or trainer.max_steps)


def load_row(out: Path, row: str) -> SpeechTextLM:
    return load(out / row)
