"""What stops a run before a bad step spoils the weights, and which utterances were in it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from stlm.errors import DataError
from stlm.interfaces.batch import PackedBatch

if TYPE_CHECKING:
    from stlm.lightning.pretrain import LanguageModelModule

RECENT = 50
"""Steps whose mean loss a spike is measured against."""

NAMED = 5
"""Utterances that a message names."""


@dataclass(frozen=True, slots=True, order=True)
class DocumentLoss:
    """A document of a step and its mean loss; those that are no number come last in order."""

    rank: float
    loss: float
    source: str
    utterance: str

    def __str__(self) -> str:
        return f"{self.source}/{self.utterance} ({self.loss:.2f})"


class StepGuard:
    """Looks at each optimizer step before it is taken.

    Args:
        spike: a step whose loss is so many nats above the mean of the last 50 stops the run; None: no such step does.
    """

    def __init__(self, spike: float | None) -> None:
        self.spike = spike
        self.recent: deque[float] = deque(maxlen=RECENT)

    def check(self, loss: float, norm: float, module: LanguageModelModule, *, skips_infinite: bool = False) -> None:
        """Raise if the step would spoil the weights; on all ranks alike.

        Args:
            loss, norm: of the step.
            module: holds the step's batches.
            skips_infinite: a loss scaler passes over steps whose gradients are infinite, and tries a smaller scale.

        Raises:
            DataError: the loss or the gradient is no number, or the loss has leapt.
        """
        if fault := self._fault(loss, 0.0 if skips_infinite else norm):
            raise DataError(f"{describe_step(module, fault)}; weights and checkpoints are those before this step")
        self.recent.append(loss)

    def _fault(self, loss: float, norm: float) -> str:
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm} (the loss is {loss:.3f})"
        usual = sum(self.recent) / len(self.recent) if self.recent else loss
        if self.spike is not None and len(self.recent) >= RECENT // 5 and loss > usual + self.spike:
            return f"the loss leapt to {loss:.3f} from a mean of {usual:.3f} (trainer.spike is {self.spike:g})"
        return ""


def describe_step(module: LanguageModelModule, fault: str) -> str:
    """One line: the step, the fault, and the documents with the worst losses of all ranks."""
    worst = sorted(_of_all_ranks(_document_losses(module)), reverse=True)
    broken = [document for document in worst if not math.isfinite(document.loss)]
    shown = (broken or worst)[:NAMED]
    corpora = sorted({document.source for document in shown})
    kind = "without a finite loss" if broken else "with the highest losses"
    return (
        f"step {module.global_step + 1}: {fault}; corpora: {', '.join(corpora)}; utterances {kind}, of {len(worst)}: "
        f"{', '.join(map(str, shown))}"
    )


def out_of_memory(module: LanguageModelModule, error: BaseException) -> str:
    """One line: the step, where memory ended, and the longest documents of the batch that did not fit."""
    where = f"out of memory on rank {module.global_rank}, {_place(module)}"
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"step {module.global_step + 1}: {where} ({reason}); go on with trainer.resume=true "
        "trainer.activation_checkpointing=true, or begin anew with lora or fewer feed.rows (batch_rows keeps the step)"
    )


def _place(module: LanguageModelModule) -> str:
    if not module.step_batches:
        return "where the optimizer keeps its states"
    batch = module.step_batches[-1]
    longest = sorted(zip(_sizes(batch), _names(module, [batch]), strict=True), reverse=True)[:NAMED]
    shown = ", ".join(f"{source}/{utterance} ({size} ids)" for size, (source, utterance) in longest)
    corpora = sorted({source for _, (source, _) in longest})
    shape = " x ".join(map(str, batch.ids.shape))
    return f"with a batch of {shape} ids; corpora: {', '.join(corpora)}; longest documents: {shown}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough, on a GPU or on a CPU (where torch has no error of its own)."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


@torch.no_grad()
def _document_losses(module: LanguageModelModule) -> list[DocumentLoss]:
    """Mean loss of each document of the step, computed once more."""
    found = []
    for batch in module.step_batches:
        assert batch.labels is not None
        with module.trainer.strategy.precision_plugin.forward_context():
            losses, _ = module.losses(batch)
        spread = torch.zeros(batch.labels.shape, dtype=losses.dtype, device=losses.device)
        spread[batch.labels != -100] = losses
        counted = (batch.labels != -100).flatten()
        spread = spread.flatten()
        for (start, end), (source, utterance) in zip(_runs(batch), _names(module, [batch]), strict=True):
            count = int(counted[start:end].sum())
            loss = float(spread[start:end].sum()) / max(1, count)
            found.append(DocumentLoss(loss if math.isfinite(loss) else math.inf, loss, source, utterance))
    return found


def _runs(batch: PackedBatch) -> list[tuple[int, int]]:
    """Start and end of each document among the batch's ids, row after row."""
    bounds = batch.document_bounds().tolist()
    segments = batch.segments.flatten()
    return [(start, end) for start, end in pairwise(bounds) if segments[start] > 0]


def _sizes(batch: PackedBatch) -> list[int]:
    return [end - start for start, end in _runs(batch)]


def _names(module: LanguageModelModule, batches: Sequence[PackedBatch]) -> list[tuple[str, str]]:
    data = module.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    return data.names_of([origin for batch in batches for origin in batch.origins])


def _of_all_ranks(documents: list[DocumentLoss]) -> list[DocumentLoss]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return documents
    gathered: list[list[DocumentLoss]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, documents)
    return [document for rank in gathered for document in rank]
