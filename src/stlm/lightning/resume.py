"""What training finds in its directory: a run to go on with, one to replace, or something that is not ours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from stlm.checkpoint import RUN_FILE, read_run_file
from stlm.errors import DataError, FormatError, StlmError
from stlm.feed.stream import difference
from stlm.lightning.checkpoints import last_checkpoint
from stlm.lightning.pretrain import LanguageModelModule
from stlm.parts import check_fingerprint
from stlm.system import SpeechTextLM

PARTS = (RUN_FILE, "format.yaml", "text", "encoders", "backbone", "adapter", "vocoder", "checkpoints")
"""What a training writes into its directory, beside logs."""

STALE = ("format.yaml", "backbone", "adapter", "checkpoints")
"""What would contradict the ``run.json`` of a run that replaces another."""

SETTLED = ("init", "backbone", "optimizer", "lora", "tuning")
"""Settings that a checkpoint holds the state of; others (steps, schedule, devices) may change on resume."""


def check_directory(directory: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise DataError if training would replace something it was not told to replace."""
    found = [name for name in PARTS if _holds(directory / name)]
    if not found or resume:
        return
    if not _is_run(directory):
        raise DataError(f"{directory} holds {found[0]!r}, which is not of a training run: choose another out")
    if not overwrite:
        raise DataError(
            f"{directory} holds a run already: go on with it by trainer.resume=true, replace it by "
            "trainer.overwrite=true, or choose another out"
        )


def _holds(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _is_run(directory: Path) -> bool:
    try:
        read_run_file(directory)
    except StlmError:
        return _holds(last_checkpoint(directory))
    return True


def clear_stale(directory: Path) -> None:
    """Remove what belongs to the run that is replaced; logs stay."""
    for path in (directory / name for name in STALE):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def find_checkpoint(
    directory: Path, system: SpeechTextLM, config: Mapping[str, Any], resume: bool | str = True
) -> Path:
    """The checkpoint to resume from, after checking that it belongs to this system and these settings.

    Args:
        directory: of the run.
        system, config: which the run goes on with.
        resume: the checkpoint's path, or True for the last one of the run.

    Raises:
        DataError: there is none.
        FormatError: it was trained with another format, tokenizer, encoder, backbone or optimizer.
    """
    path = Path(resume) if isinstance(resume, str) else last_checkpoint(directory)
    if isinstance(resume, str) and not path.exists():
        raise DataError(
            f"{path}: no such checkpoint: name one that is there, or trainer.resume=true for the run's last"
        )
    if not path.exists():
        raise DataError(
            f"{path}: nothing to resume from: train without resume first, or name the right directory with out="
        )
    run = read_run_file(directory)
    try:
        check_fingerprint(run, system.codec, directory)
    except FormatError as error:
        raise FormatError(
            f"{error}; a run resumes only with the data, tokenizer and format that it began with"
        ) from error
    if config and run["config"]:
        known = [key for key in SETTLED if key in run["config"]]
        then, now = ({key: _plain(found.get(key)) for key in known} for found in (run["config"], config))
        if found := difference(then, now):
            raise FormatError(f"{directory}: {found}: a run resumes only with the settings that it began with")
    return path


def _plain(value: Any) -> Any:
    """As ``run.json`` gives it back."""
    return json.loads(json.dumps(value, default=str))


def check_checkpoint(path: Path, module: LanguageModelModule) -> None:
    """Raise if a checkpoint is damaged, or its weights and optimizer are not this module's.

    Weights are mapped, not read; a checkpoint in pieces (a directory) is left to the strategy that wrote it.
    """
    if path.is_dir():
        return
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        weights, optimizers = content["state_dict"], content["optimizer_states"]
    except Exception as error:
        raise DataError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}): it is damaged; restore it, or train anew"
        ) from error
    optimizer = module.make_optimizer(module.backbone).state_dict()
    found = difference(_shapes(weights), _shapes(module.state_dict()), "weights") or difference(
        [_groups(state) for state in optimizers], [_groups(optimizer)], "optimizer"
    )
    if found:
        raise FormatError(f"{path}: {found}: a run resumes only with the backbone and optimizer that it began with")


def _shapes(weights: Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(weight.shape) for name, weight in weights.items()}


def _groups(state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's structure: names of options and number of parameters of each group, part by part."""
    if "param_groups" not in state:
        return {name: _groups(part) for name, part in state.items()}
    groups = state["param_groups"]
    options = sorted({name for group in groups for name in group} - {"initial_lr"})  # a scheduler adds it
    return {"options": options, "parameters": [len(group["params"]) for group in groups]}


class RunRecord(pl.Callback):
    """Writes ``run.json`` once the first batch was trained, when everything that can be refused has been checked.

    Args:
        write: writes it.
        replaced: the directory of a run that this one replaces.
    """

    def __init__(self, write: Any, replaced: Path | None) -> None:
        self.write = write
        self.replaced = replaced
        self._is_done = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._is_done or not trainer.is_global_zero:
            return
        self._is_done = True
        if self.replaced is not None:
            clear_stale(self.replaced)
        self.write()
