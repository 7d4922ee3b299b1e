"""`PitchTraining`: crops of contours to the weights of a VQ-VAE.

What is learned: F0 where there is voice (Huber), voicing everywhere (cross-entropy), and latents that stay near their
codebook entries (van den Oord et al., 2017). The network sees F0 divided by its deviation over the corpus; `finished`
moves that factor, and the threshold of voicing, into the weights, so that the network takes and gives Hz as the
official one does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from stlm.learn.vq import MovingCodebook, code_usage
from stlm_pitch.decode import VOICED
from stlm_pitch.vqvae import Vqvae, VqvaeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """What each part of the loss counts, and where Huber's turns from square to straight, in deviations of F0."""

    f0: float
    voicing: float
    commitment: float
    delta: float


class PitchTraining(pl.LightningModule):
    """A VQ-VAE in training.

    Args:
        options: its sizes.
        codebook: that moves while it learns.
        scale_hz: what F0 is divided by.
        weights: of the loss.
        learning_rate: at its highest.
        seed: decides the start.
    """

    def __init__(
        self,
        options: VqvaeOptions,
        codebook: MovingCodebook,
        *,
        scale_hz: float,
        weights: LossWeights,
        learning_rate: float,
        seed: int,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.vqvae = Vqvae(options)
        self.codebook = codebook
        self.scale_hz, self.weights, self.learning_rate = scale_hz, weights, learning_rate

    def training_step(self, batch: torch.Tensor, index: int) -> dict[str, torch.Tensor]:
        """Losses of crops ``float32[B, 2, T']``, F0 in Hz."""
        wanted, voicing = batch[:, 0] / self.scale_hz, batch[:, 1]
        latents = self.vqvae.encode(torch.stack([wanted, voicing], 1))
        quantized = self.codebook(latents.transpose(1, 2).flatten(0, 1))
        rows = quantized.rows.view(len(batch), -1, latents.shape[1]).transpose(1, 2)
        f0, logits = self.vqvae.decoder(rows).unbind(1)
        errors = F.huber_loss(f0, wanted, reduction="none", delta=self.weights.delta)
        f0_loss = (errors * voicing).sum() / voicing.sum().clamp_min(1)
        voicing_loss = F.binary_cross_entropy_with_logits(logits, voicing)
        loss = self.weights.f0 * f0_loss + self.weights.voicing * voicing_loss
        return {
            "loss": loss + self.weights.commitment * quantized.commitment,
            "f0": f0_loss.detach(),
            "voicing": voicing_loss.detach(),
            "commitment": quantized.commitment.detach(),
            "perplexity": torch.tensor(code_usage(quantized.codes, len(self.codebook.entries)).perplexity),
        }

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.vqvae.parameters(), lr=self.learning_rate)

    @torch.no_grad()
    def finished(self) -> Vqvae:
        """The VQ-VAE for contours in Hz, whose second output is above `VOICED` where there is voice."""
        vqvae = Vqvae(self.vqvae.options)
        vqvae.load_state_dict({name: value.cpu() for name, value in self.vqvae.state_dict().items()})
        vqvae.vq.level_blocks[0].k.copy_(self.codebook.entries)
        first, last = vqvae.encoder.level_blocks[0].model[0][0], vqvae.decoder.out
        first.weight[:, 0] /= self.scale_hz
        last.weight[0] *= self.scale_hz
        last.bias[0] *= self.scale_hz
        last.bias[1] += VOICED
        return vqvae.eval().requires_grad_(False)


class Crops:
    """Draws crops ``float32[B, 2, length]`` from contours that follow one another.

    Args:
        contours: ``float32[2, T']`` each.
        length: frames of a crop.
        batch_size: B.
    """

    def __init__(self, contours: list[torch.Tensor], length: int, batch_size: int) -> None:
        joined = torch.cat(contours, 1).numpy()
        self.joined = np.tile(joined, -(-length // joined.shape[1])) if joined.shape[1] < length else joined
        self.length, self.batch_size = length, batch_size

    def __call__(self, rng: np.random.Generator) -> torch.Tensor:
        starts = rng.integers(self.joined.shape[1] - self.length + 1, size=self.batch_size)
        return torch.from_numpy(np.stack([self.joined[:, start : start + self.length] for start in starts]))
