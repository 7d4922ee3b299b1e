"""Composed configurations set to work: training a model, training a part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stlm.checkpoint import RUN_FILE, installed_versions, read_run_file
from stlm.config.build import (
    as_plain,
    build_component,
    build_data,
    build_fit_options,
    build_lora,
    build_optimizer,
    build_schedule,
    build_system,
    build_tuning,
    build_validation,
    check_shards,
    usable,
)
from stlm.config.schema import FROM_INIT, LoraConfig, TrainConfig
from stlm.errors import ConfigError, DataError
from stlm.feed.stream import difference
from stlm.interfaces.backbone import AdaptableBackbone, BackboneLM
from stlm.interfaces.recipe import Recipe
from stlm.interfaces.source import Source
from stlm.learn.training import CHECKPOINT
from stlm.lightning.fit import FitReport, fit
from stlm.lightning.resume import check_directory
from stlm.lightning.tuning import Freezing, prepare
from stlm.system import SpeechTextLM
from stlm.types import Utterance

PLAN_FILE = "plan.json"
"""What an unfinished recipe was asked for; it lies beside its checkpoints."""


def train(config: TrainConfig, system: SpeechTextLM | None = None, *, label: str = "train") -> FitReport:
    """One training run by its config; `system` replaces the one that the config would build."""
    out, options = Path(config.out), build_fit_options(config.trainer)
    schedule = build_schedule(config.schedule, config.trainer)
    optimizer = build_optimizer(config.optimizer, config.tuning.rates)
    if config.init and Path(config.init).resolve() == out.resolve():
        raise ConfigError(f"out and init are one directory, {config.out}: choose another out")
    check_directory(out, resume=bool(options.resume), overwrite=options.overwrite)
    check_shards({**config.mixture, **config.validation})
    system = system or build_system(config)
    data = build_data(config.mixture, config.feed, system.codec, seed=config.seed)
    held_out = [build_validation(config, system.codec)] if config.validation else []
    freezing = _choose_trained(config, system)
    return fit(
        system,
        data,
        optimizer,
        schedule,
        options,
        out,
        config=as_plain(_with_parts_of_init(config)),
        label=label,
        loss_chunk=config.trainer.loss_chunk,
        report_every=config.trainer.report_every,
        callbacks=[freezing, *held_out],
    )


def _choose_trained(config: TrainConfig, system: SpeechTextLM) -> Freezing:
    """Adapters and frozen parameters, as the config wants them."""
    if config.lora is not None and config.tuning.rows:
        raise ConfigError("tuning.rows is for training without lora: name the blocks in lora.trained_rows instead")
    if config.lora is not None:
        _add_lora(config.lora, system, config.seed)
    elif _is_quantized(system.backbone):
        raise ConfigError(
            "the backbone's weights are quantized, so only adapters can be trained: add lora={rank: 16}, or load the "
            "backbone with quantization=none"
        )
    return prepare(system.backbone, build_tuning(config.tuning, system.codec))


def _is_quantized(backbone: BackboneLM) -> bool:
    return not all(parameter.is_floating_point() for parameter in backbone.parameters())


def _add_lora(config: LoraConfig, system: SpeechTextLM, seed: int) -> None:
    if not isinstance(system.backbone, AdaptableBackbone):
        raise ConfigError(f"backbone {type(system.backbone).__name__} takes no LoRA adapters: remove lora")
    try:
        system.backbone.add_lora(build_lora(config, system.codec, seed=seed))
    except ValueError as error:
        raise ConfigError(f"lora: {str(error).splitlines()[0]}") from error


def _with_parts_of_init(config: TrainConfig) -> TrainConfig:
    """With those parts that came from `init` as its own ``run.json`` has them; a preset has none."""
    if not config.init:
        return config
    is_run = (Path(config.init) / RUN_FILE).exists()
    before = read_run_file(config.init)["config"] if is_run else {}
    blank = TrainConfig()
    return replace(config, **{name: before.get(name, getattr(blank, name)) for name in FROM_INIT})


def run_recipe(
    recipe: Mapping[str, Any],
    source: Mapping[str, Any],
    out: str | Path,
    *,
    limit: int = 0,
    resume: bool = False,
    overwrite: bool = True,
) -> None:
    """Train a part on a source; `out` appears complete or not at all.

    Args:
        recipe, source: components with their options.
        out: the directory that the part's component loads.
        limit: at most so many utterances; 0 for all.
        resume: go on with a training that was interrupted.
        overwrite: begin anew where one was interrupted, or finished.

    Raises:
        DataError: `out` holds something that no recipe made, or there is nothing to resume. ConfigError: the
            interrupted training had other options.
    """
    target = Path(out)
    _check_replaceable(target, source)
    trainer: Recipe = build_component("recipe", recipe)
    corpus: Source = build_component("source", source)
    total = min(limit or len(corpus), len(corpus) or limit) or None
    partial = _begin(target, {"recipe": dict(recipe), "source": dict(source)}, resume=resume, overwrite=overwrite)
    trainer.train(_Usable(corpus, limit, total, str(recipe["name"])), partial)
    shutil.rmtree(partial / CHECKPOINT.parent, ignore_errors=True)
    record = {"libraries": installed_versions(), "recipe": dict(recipe), "source": dict(source)}
    (partial / RUN_FILE).write_text(json.dumps(record, indent=2, default=str) + "\n")
    (partial / PLAN_FILE).unlink()
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _begin(target: Path, plan: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Path:
    """The directory in which a training goes on, or begins."""
    partial = target.with_name(f".{target.name}.partial")
    is_begun = (partial / PLAN_FILE).exists() and any(partial.rglob(CHECKPOINT.name))
    plan = json.loads(json.dumps(plan, default=str))
    if resume:
        if not is_begun:
            raise DataError(f"{partial}: nothing to resume from: train without resume first, or name the right out")
        if found := difference(json.loads((partial / PLAN_FILE).read_text()), plan):
            raise ConfigError(f"{target}: {found}: a training resumes only with the options that it began with")
        return partial
    if is_begun and not overwrite:
        raise DataError(
            f"{partial} holds an interrupted training: go on with it by resume=true, or begin anew by overwrite=true"
        )
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise DataError(f"{target} holds a trained part already: replace it by overwrite=true, or choose another out")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / PLAN_FILE).write_text(json.dumps(plan, indent=2) + "\n")
    return partial


def _check_replaceable(target: Path, source: Mapping[str, Any]) -> None:
    """Raise DataError unless `target` is new, empty, or made by a recipe before, and the source is not inside it."""
    data = Path(str(source["path"])).resolve() if source.get("path") else None
    if data is not None and target.resolve() in (data, *data.parents):
        raise DataError(f"out is {target}, which is or holds the source's path {data}: choose another out")
    if target.is_dir() and not _is_recipe_output(target):
        first = min((entry.name for entry in target.iterdir()), default=None)
        if first is not None:
            raise DataError(f"{target} holds {first!r}, which no recipe made: choose another out, or empty it")
    elif target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file, expected a directory: choose another out")


def _is_recipe_output(directory: Path) -> bool:
    try:
        return "recipe" in json.loads((directory / RUN_FILE).read_text())
    except (OSError, ValueError, TypeError):
        return False


class _Usable(Iterable[Utterance]):
    """A source's usable utterances with a progress bar; can be read more than once."""

    def __init__(self, source: Source, limit: int, total: int | None, label: str) -> None:
        self.source = source
        self.limit = limit
        self.total = total
        self.label = label

    def __iter__(self) -> Iterator[Utterance]:
        count = 0
        with tqdm(total=self.total, desc=self.label, unit="utterance") as bar:
            for item in usable(self.source):
                yield item
                count += 1
                bar.update()
                if self.limit and count >= self.limit:
                    return
