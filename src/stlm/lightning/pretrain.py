"""Training of the language model: the loss of a step, to the token, and losses and tokens by modality and stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from stlm.codec import Codec
from stlm.errors import ConfigError
from stlm.interfaces.backbone import BackboneLM
from stlm.interfaces.batch import PackedBatch
from stlm.lightning.guard import StepGuard
from stlm.lightning.loss import token_losses
from stlm.lightning.optimizers import OptimizerFactory
from stlm.lightning.schedule import Schedule

MODALITIES = ("markers", "text", "speech")
"""In the order of `Codec.kind_of_all`."""


class LossByBlock(nn.Module):
    """Sums of losses by vocabulary block: text, markers, and each stream of units.

    Args:
        codec: tells which block an id is of.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        blocks = codec.format.vocabulary.blocks
        sizes = torch.tensor([block.num_ids for block in blocks])
        self.names = [block.name for block in blocks]
        self.register_buffer("block_of_id", torch.arange(len(blocks)).repeat_interleave(sizes), persistent=False)

    def forward(self, losses: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """``float64[2, blocks]``: sums of ``losses: float[M]`` and numbers of ``targets: int64[M]``."""
        blocks = self.block_of_id[targets]  # pyright: ignore[reportIndexIssue]
        sums = torch.zeros(len(self.names), dtype=torch.float64, device=losses.device)
        return torch.stack([sums.index_add_(0, blocks, losses.double()), self.count(targets)])

    def count(self, ids: torch.Tensor) -> torch.Tensor:
        """``float64[blocks]`` of ``ids: int64[M]``."""
        blocks = self.block_of_id[ids]  # pyright: ignore[reportIndexIssue]
        return torch.bincount(blocks, minlength=len(self.names)).double()

    def means(self, sums: torch.Tensor) -> dict[str, float]:
        """Mean loss by block of what this gave, or of sums of it; blocks without a label are left out."""
        totals, counts = sums.tolist()
        return {name: total / n for name, total, n in zip(self.names, totals, counts, strict=True) if n}


class LanguageModelModule(pl.LightningModule):
    """Trains a backbone on packed batches.

    The loss of an optimizer step is the mean over all its tokens that count, on every rank and in every batch:
    gradients are summed with a constant weight and set right by the true number of tokens before they are clipped. A
    mean of the batches' means would weigh a token of a batch with few of them more.

    Args:
        backbone: the model.
        codec: its codec, for reports by modality.
        optimizer: makes the optimizer of a backbone.
        schedule: learning-rate schedule.
        loss_chunk: positions whose logits exist at once.
        report_every: optimizer steps between reports of loss by kind.
        clip: largest gradient norm; 0 clips nothing.
        spike: the run stops where a step's loss is so many nats above the mean of those before it; None: nowhere.
        prepare: shards, compiles or changes the backbone once the strategy is set up.
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
        clip: float = 1.0,
        spike: float | None = None,
        prepare: Callable[[LanguageModelModule], None] = lambda module: None,
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
        self.clip = clip
        self.guard = StepGuard(spike)
        self.prepare = prepare
        self._is_prepared = False
        self.by_block = LossByBlock(codec)
        blocks = len(self.by_block.names)
        # of all ranks, by block: tokens trained on, and losses and labels since the last report
        self.register_buffer("tokens_seen", torch.zeros(blocks, dtype=torch.int64))
        self.register_buffer("unreported", torch.zeros(2, blocks, dtype=torch.float64))
        self.step_batches: list[PackedBatch] = []
        self._totals: list[torch.Tensor] = []

    def configure_model(self) -> None:
        if not self._is_prepared:
            self._is_prepared = True
            self.prepare(self)

    def training_step(self, batch: PackedBatch, batch_index: int) -> torch.Tensor:
        self.step_batches.append(batch)
        losses, targets = self.losses(batch)
        tokens = self.by_block.count(batch.ids[batch.segments > 0])
        self._totals.append(torch.cat([self.by_block(losses.detach(), targets), tokens[None]]))
        # here and not after the batch: checkpoint callbacks run before the module's own hook and would miss it
        self.trainer.datamodule.consumed(batch)  # pyright: ignore[reportAttributeAccessIssue]
        return losses.sum() / batch.ids.numel()

    def losses(self, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses and labels of the positions that count; see `token_losses`."""
        assert batch.labels is not None
        hidden = self.backbone(batch).last
        return token_losses(self.backbone, hidden, batch.labels, chunk=self.loss_chunk)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients of the mean over the step's tokens, clipped; a step that would spoil the weights is not taken."""
        totals = self._step_totals()
        nominal = sum(batch.ids.numel() for batch in self.step_batches)
        gradients = [parameter.grad for parameter in self.backbone.parameters() if parameter.grad is not None]
        norm = _whole(nn.utils.get_total_norm(gradients)).double()
        total, count, norm = torch.stack([*totals[:2].sum(1), norm]).tolist()
        # so far they are the mean, over ranks and batches, of sums over each batch's nominal size
        scale = self.trainer.world_size * nominal / max(count, 1.0)
        loss, norm = total / max(count, 1.0), norm * scale
        self.guard.check(loss, norm, self, skips_infinite=self.trainer.precision == "16-mixed")
        torch._foreach_mul_(gradients, scale * min(1.0, self.clip / max(norm, 1e-12)) if self.clip else scale)
        self.unreported += totals[:2]  # pyright: ignore[reportOperatorIssue]
        self.tokens_seen += totals[2].long()  # pyright: ignore[reportOperatorIssue]
        self.step_batches.clear()
        # the curves' own axis: Lightning's count of batches is one behind after a resume
        self.log_dict({"train/loss": loss, "train/gradient_norm": norm, "step": float(self.global_step)})
        if (self.global_step + 1) % self.report_every == 0:
            self._report()

    def _step_totals(self) -> torch.Tensor:
        """Losses, labels and tokens by block ``float64[3, blocks]``, of all batches of the step on all ranks."""
        totals = torch.stack(self._totals).sum(0)
        self._totals.clear()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(totals)
        return totals

    def _report(self) -> None:
        """Losses by block since the last report, and tokens seen so far."""
        self.log_dict({f"train/loss_{name}": loss for name, loss in self.by_block.means(self.unreported).items()})  # pyright: ignore
        self.unreported.zero_()  # pyright: ignore[reportCallIssue]
        self.log_dict({f"tokens/{name}": float(count) for name, count in self.tokens_by_block().items()})

    def tokens_by_block(self) -> dict[str, int]:
        """Tokens trained on so far, on all ranks: text, markers, and each stream of units."""
        return dict(zip(self.by_block.names, self.tokens_seen.tolist(), strict=True))  # pyright: ignore[reportCallIssue]

    def tokens_by_modality(self) -> dict[str, int]:
        """The same, as markers, text and speech."""
        found = dict.fromkeys(MODALITIES, 0)
        vocabulary, kinds = self.codec.format.vocabulary, self.codec.kind_of_all()
        for name, count in self.tokens_by_block().items():
            found[MODALITIES[kinds[vocabulary.offset(name)]]] += count
        return found

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.backbone)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule.factor(step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _whole(value: torch.Tensor) -> torch.Tensor:
    """A number whose parts may lie on several ranks."""
    return value.full_tensor() if isinstance(value, DTensor) else value
