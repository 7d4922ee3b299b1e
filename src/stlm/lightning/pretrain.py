"""Training of the language model: loss by modality and stream, tokens seen, schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torchmetrics import MeanMetric

from stlm.codec import Codec
from stlm.errors import ConfigError
from stlm.interfaces.backbone import BackboneLM
from stlm.interfaces.batch import PackedBatch
from stlm.lightning.loss import token_losses
from stlm.lightning.optimizers import OptimizerFactory


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Learning rate over the run: linear warm-up, then cosine to ``final_ratio`` of the peak.

    Args:
        warmup_steps: optimizer steps of warm-up.
        total_steps: steps after which the rate stays at its end value.
        final_ratio: last rate over peak rate.
    """

    warmup_steps: int = 100
    total_steps: int = 1000
    final_ratio: float = 0.1

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or not 0 <= self.final_ratio <= 1:
            raise ConfigError(
                f"schedule: expected warmup_steps >= 0 and 0 <= final_ratio <= 1, got {self.warmup_steps} and "
                f"{self.final_ratio}"
            )

    def factor(self, step: int) -> float:
        """Multiplier of the peak rate at an optimizer step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        span = max(1, self.total_steps - self.warmup_steps)
        progress = min(1.0, (step - self.warmup_steps) / span)
        return self.final_ratio + (1 - self.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


class LossByKind(nn.Module):
    """Mean losses by vocabulary block and by modality, as metrics that reduce over ranks.

    Args:
        codec: tells which block and modality an id is of.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        vocabulary = codec.format.vocabulary
        blocks = torch.repeat_interleave(
            torch.arange(len(vocabulary.blocks)), torch.tensor([block.num_ids for block in vocabulary.blocks])
        )
        self.register_buffer("block_of_id", blocks, persistent=False)
        self.names = [block.name for block in vocabulary.blocks]
        self.metrics = nn.ModuleDict({name.replace(".", "_"): MeanMetric() for name in self.names})

    def update(self, losses: torch.Tensor, targets: torch.Tensor) -> None:
        blocks = self.block_of_id[targets]  # pyright: ignore[reportIndexIssue]
        count = torch.bincount(blocks, minlength=len(self.names))
        total = torch.zeros(len(self.names), dtype=losses.dtype, device=losses.device).index_add_(0, blocks, losses)
        for index, metric in enumerate(self.metrics.values()):
            if count[index]:
                metric.update(total[index] / count[index], weight=count[index])

    def compute(self) -> dict[str, torch.Tensor]:
        """Means since the last call, by block name; blocks without a target are left out."""
        found = {}
        for name, metric in zip(self.names, self.metrics.values(), strict=True):
            if metric.update_called:
                found[name] = metric.compute()
            metric.reset()
        return found


class LanguageModelModule(pl.LightningModule):
    """Trains a backbone on packed batches.

    Args:
        backbone: the model.
        codec: its codec, for reports by modality.
        optimizer: makes the optimizer of a backbone.
        schedule: learning-rate schedule.
        loss_chunk: positions whose logits exist at once.
        report_every: optimizer steps between reports of loss by kind.
    """

    def __init__(
        self,
        backbone: BackboneLM,
        codec: Codec,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        *,
        loss_chunk: int = 8192,
        report_every: int = 10,
    ) -> None:
        super().__init__()
        if loss_chunk < 1 or report_every < 1:
            raise ConfigError(
                f"trainer: loss_chunk and report_every must be at least 1, got {loss_chunk} and {report_every}"
            )
        self.backbone = backbone
        self.codec = codec
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.loss_chunk = loss_chunk
        self.report_every = report_every
        self.loss_by_kind = LossByKind(codec)
        kinds = torch.from_numpy(codec.kind_of_all())
        self.register_buffer("kind_of_id", kinds, persistent=False)
        # tokens seen: markers, text, speech
        self.register_buffer("tokens_seen", torch.zeros(3, dtype=torch.int64))

    def training_step(self, batch: PackedBatch, batch_index: int) -> torch.Tensor:
        losses, targets = self._losses(batch)
        self.loss_by_kind.update(losses.detach(), targets)
        used = self.kind_of_id[batch.ids[batch.segments > 0]]  # pyright: ignore[reportIndexIssue]
        self.tokens_seen += torch.bincount(used, minlength=3)  # pyright: ignore[reportOperatorIssue]
        loss = losses.mean()
        self.log("train/loss", loss.detach())
        if (self.global_step + 1) % self.report_every == 0:
            self._report()
        # here and not after the batch: checkpoint callbacks run before the module's own hook and would miss it
        self.trainer.datamodule.consumed(batch)  # pyright: ignore[reportAttributeAccessIssue]
        return loss

    def _losses(self, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        assert batch.labels is not None
        hidden = self.backbone(batch).last
        return token_losses(self.backbone, hidden, batch.labels, chunk=self.loss_chunk)

    def _report(self) -> None:
        """Losses by kind since the last report, and tokens seen so far."""
        self.log_dict({f"train/loss_{name}": value for name, value in self.loss_by_kind.compute().items()})
        seen = self.tokens_seen.tolist()  # pyright: ignore[reportCallIssue]
        names = ("markers", "text", "speech")
        self.log_dict({f"tokens/{name}": float(count) for name, count in zip(names, seen, strict=True)})

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.backbone)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
