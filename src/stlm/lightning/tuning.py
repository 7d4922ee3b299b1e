"""What of a model is trained, step by step.

In: patterns of parameter names and ids of rows. Out: a backbone whose other parameters require no gradient, and the
callback that changes this where a stage ends.

A frozen parameter gets no gradient, so every optimizer of torch passes it over, weight decay and momentum included; its
part of the optimizer's state is dropped and begins anew should it be trained again. All that any stage trains is in the
optimizer from the start, so parameter groups and learning rates do not depend on the stage, and a checkpoint is resumed
by the number of its step alone.

DDP must wrap the model while all of that requires gradients, or it would not reduce what is trained later: `prepare`
leaves it so, and the first stage begins with the first batch. Where there are stages DDP needs
``find_unused_parameters=True``. FSDP2 takes frozen parameters and trained ones together and looks at each gathering.
Its checkpoints hold states of what the step before them trained, and are loaded into the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stlm.errors import ConfigError
from stlm.interfaces.backbone import BackboneLM
from stlm.lightning.optimizers import forget
from stlm.lightning.patterns import check_pattern, matching, trainable
from stlm.lightning.rows import join_rows, split_rows, trained_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningStage:
    """Trains what `train` matches, or all if it is empty, in the optimizer steps before `until`."""

    until: int
    train: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOptions:
    """What is trained.

    Args:
        train: regular expressions of parameter names; empty for all that require gradients.
        stages: what is trained first, by rising `until`; after the last it is `train`.
        rows: ids whose rows of embedding and head are trained while all others stay as they are; empty for all rows.
    """

    train: tuple[str, ...] = ()
    stages: tuple[TuningStage, ...] = ()
    rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if any(later <= earlier for earlier, later in pairwise([0, *ends])):
            raise ConfigError(f"tuning.stages: until must be above 0 and rise from stage to stage, got {ends}")
        for where, patterns in self.patterns():
            for pattern in patterns:
                check_pattern(pattern, where)

    def patterns(self) -> list[tuple[str, tuple[str, ...]]]:
        """Patterns of each stage and of the rest of the run, under the name of their option."""
        stages = [(f"tuning.stages[{index}].train", stage.train) for index, stage in enumerate(self.stages)]
        return [*stages, ("tuning.train", self.train)]


class Freezing(pl.Callback):
    """Changes what requires gradients where a stage begins, and undoes it when training ends.

    Args:
        backbone: what is trained.
        parts: names of the parameters that are trained in each stage and after the last.
        ends: steps that the stages end before.
        before: names of the parameters that required gradients before `prepare`.
    """

    def __init__(
        self, backbone: BackboneLM, parts: Sequence[frozenset[str]], ends: Sequence[int], before: frozenset[str]
    ) -> None:
        self.backbone = backbone
        self.parts = list(zip([*ends, math.inf], parts, strict=True))
        self.before = before
        self.resumed_from: Path | None = None  # a checkpoint in pieces is loaded into the states of its step
        self._now: frozenset[str] = frozenset[str]().union(*parts)

    @property
    def is_staged(self) -> bool:
        """Whether what is trained changes over the run; DDP then needs to find unused parameters."""
        return len(self.parts) > 1

    def trained_at(self, step: int) -> frozenset[str]:
        """Names of the backbone's parameters that an optimizer step trains; the first step is 0."""
        return next(names for end, names in self.parts if step < end)

    def apply(self, step: int, optimizers: Sequence[torch.optim.Optimizer] = ()) -> None:
        """Let just those parameters require gradients that `step` trains; optimizers forget the others."""
        wanted = self.trained_at(step)
        if wanted == self._now:
            return
        self._now = wanted
        named = dict(self.backbone.named_parameters())
        assert wanted <= named.keys(), "parameters were renamed after prepare"
        for name, parameter in named.items():
            parameter.requires_grad_(name in wanted)
        frozen = [parameter for name, parameter in named.items() if name not in wanted]
        for parameter in frozen:
            parameter.grad = None
        for optimizer in optimizers:
            forget(optimizer, frozen)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        path = self.resumed_from
        if path is not None and path.is_dir() and self.is_staged:
            step = torch.load(path / "meta.pt", weights_only=True)["global_step"]
            self.apply(max(0, step - 1))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.apply(trainer.global_step, trainer.optimizers)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.apply(trainer.global_step, trainer.optimizers)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        join_rows(self.backbone)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name in self.before)


def prepare(backbone: BackboneLM, options: TuningOptions) -> Freezing:
    """Freeze what no step trains, split tables whose rows are trained alone, and return the callback for the rest.

    Adapters come first: what they froze stays frozen. Optimizers are made after this.

    Raises:
        ConfigError: a pattern matches nothing, or nothing is left to train.
    """
    before = frozenset(trainable(backbone).values())
    if not before:
        raise ConfigError(f"tuning: nothing to train: no parameter of {type(backbone).__name__} requires gradients")
    if options.rows:
        split_rows(backbone, options.rows)
    names = trainable(backbone)
    parts = [_chosen(names, patterns, where) for where, patterns in options.patterns()]
    ever = frozenset[str]().union(*parts)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in ever)
    if any(not rows.requires_grad for rows in trained_rows(backbone)):
        raise ConfigError(
            "tuning.rows names rows of embedding and head, but tuning.train leaves a table out: add it to train, or "
            "leave rows empty"
        )
    return Freezing(backbone, parts, [stage.until for stage in options.stages], before)


def _chosen(names: Mapping[str, str], patterns: Sequence[str], where: str) -> frozenset[str]:
    """First names of what the patterns match; all if there are no patterns."""
    if not patterns:
        return frozenset(names.values())
    return frozenset[str]().union(*(matching(pattern, names, where) for pattern in patterns))
