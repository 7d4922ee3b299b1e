"""`MaskedPrediction`: a HubertModel that learns to say, for frames it cannot see, which cluster they belong to.

Logits are cosines of the projected output and an embedding of each cluster, over a temperature (Hsu et al., "HuBERT",
2021, equation 3).
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from transformers import HubertModel

from stlm_hubert.rows import Batch


class MaskedPrediction(pl.LightningModule):
    """Trains a model in place.

    Args:
        model: with a vector for masked frames.
        num_clusters: K.
        projection: width of the space of cosines.
        temperature: of the cosines.
        unmasked_weight: of the loss on frames that are seen; on masked ones it is 1.
        feature_gradient: what the gradient of the convolutions is multiplied by.
        learning_rate, weight_decay, betas: of AdamW.
        seed: decides the head's start and every dropout.
    """

    def __init__(
        self,
        model: HubertModel,
        num_clusters: int,
        *,
        projection: int,
        temperature: float,
        unmasked_weight: float,
        feature_gradient: float,
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float],
        seed: int,
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature, self.unmasked_weight, self.feature_gradient = temperature, unmasked_weight, feature_gradient
        self.optimizer_options = {"lr": learning_rate, "weight_decay": weight_decay, "betas": betas}
        self.seed = seed
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.projection = nn.Linear(model.config.hidden_size, projection)
            self.embeddings = nn.Parameter(torch.empty(num_clusters, projection).uniform_())

    def training_step(self, batch: Batch, index: int) -> dict[str, torch.Tensor]:
        waves, targets, masks = batch
        with torch.random.fork_rng():
            torch.manual_seed(self.seed * 1_000_003 + self.global_step)  # dropout, equal again after a resume
            logits = self.logits(waves, masks)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        right = (logits.detach().argmax(2) == targets).float()
        masked, unmasked = _mean(losses, masks), _mean(losses, ~masks)
        loss = masked if self.unmasked_weight == 0 else masked + self.unmasked_weight * unmasked
        return {
            "loss": loss,
            "masked_loss": masked.detach(),
            "masked_accuracy": _mean(right, masks),
            "unmasked_accuracy": _mean(right, ~masks),
        }

    def logits(self, waves: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """``float32[B, T, K]`` for waves ``float32[B, N]`` with the frames of ``bool[B, T]`` hidden."""
        parts: Any = self.model
        features = parts.feature_extractor(waves)
        features = self.feature_gradient * features + (1 - self.feature_gradient) * features.detach()
        hidden = parts.feature_projection(features.transpose(1, 2))
        hidden = torch.where(masks[:, :, None], parts.masked_spec_embed.to(hidden.dtype), hidden)
        hidden = self.projection(parts.encoder(hidden).last_hidden_state).float()
        with torch.autocast(waves.device.type, enabled=False):
            return F.linear(F.normalize(hidden, dim=2), F.normalize(self.embeddings.float(), dim=1)) / self.temperature

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), **self.optimizer_options, eps=1e-6)


def _mean(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Of the chosen ones; 0 where there are none, as short crops may be masked as a whole."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
