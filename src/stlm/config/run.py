"""Composed configurations set to work: training a model, training a part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stlm.checkpoint import installed_versions
from stlm.config.build import (
    as_plain,
    build_component,
    build_data,
    build_fit_options,
    build_lora,
    build_optimizer,
    build_schedule,
    build_system,
)
from stlm.config.schema import TrainConfig
from stlm.errors import ConfigError
from stlm.interfaces.backbone import AdaptableBackbone
from stlm.interfaces.recipe import Recipe
from stlm.interfaces.source import Source
from stlm.lightning.fit import FitReport, fit
from stlm.system import SpeechTextLM
from stlm.types import Rejected, Utterance


def train(config: TrainConfig, system: SpeechTextLM | None = None, *, label: str = "train") -> FitReport:
    """One training run by its config; `system` replaces the one that the config would build."""
    system = system or build_system(config)
    if config.lora is not None:
        if not isinstance(system.backbone, AdaptableBackbone):
            raise ConfigError(f"backbone {type(system.backbone).__name__} takes no LoRA adapters: remove lora")
        system.backbone.add_lora(build_lora(config.lora, system.codec))
    data = build_data(config.mixture, config.feed, system.codec, seed=config.seed)
    report = fit(
        system,
        data,
        build_optimizer(config.optimizer),
        build_schedule(config.schedule, config.trainer),
        build_fit_options(config.trainer),
        Path(config.out),
        config=as_plain(config),
        label=label,
        loss_chunk=config.trainer.loss_chunk,
        report_every=config.trainer.report_every,
    )
    return report


def run_recipe(recipe: Mapping[str, Any], source: Mapping[str, Any], out: str | Path, *, limit: int = 0) -> None:
    """Train a part on a source; `out` appears complete or not at all.

    Args:
        recipe, source: components with their options.
        out: the directory that the part's component loads.
        limit: at most so many utterances; 0 for all.
    """
    trainer: Recipe = build_component("recipe", recipe)
    corpus: Source = build_component("source", source)
    total = min(limit or len(corpus), len(corpus) or limit) or None
    target = Path(out)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    trainer.train(_Usable(corpus, limit, total, str(recipe["name"])), partial)
    record = {"libraries": installed_versions(), "recipe": dict(recipe), "source": dict(source)}
    (partial / "run.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


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
            for item in self.source.utterances():
                if isinstance(item, Rejected):
                    continue
                yield item
                count += 1
                bar.update()
                if self.limit and count >= self.limit:
                    return
