"""`Learner`: generator, discriminators and duration predictor, trained together (Kong et al., 2020, section 2.3).

In comes a batch of `stlm_hifigan.corpus.Segments`. Each step first trains the discriminators to tell natural from made
sound, then the generator to sound natural and alike; before `adversarial_from` the generator learns by spectra alone,
at less than half the cost. Convolutions are weight-normalised while they learn; `plain` folds that away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from stlm.errors import ConfigError
from stlm.learn.training import progress_of
from stlm.learn.weights import fold_weight_norm, load_exactly
from stlm_hifigan.discriminators import (
    DiscriminatorOptions,
    Discriminators,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from stlm_hifigan.excitation import Excitation
from stlm_hifigan.generator import SLOPE, Generator, GeneratorOptions
from stlm_hifigan.spectra import Spectra, SpectraOptions

RESIDUAL_GAIN = 0.3
"""Of what a residual block adds at the start, so that the sum over many of them does not grow."""
PREDICTORS = ("dur_predictor.", "predictor.")
OUTPUT_GAIN = 0.05
"""Of the sound at the start; speech has about this level."""
ADDED_GAIN = 0.001
"""Of what the stages add to an excitation at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerOptions:
    """What is trained, and by what.

    Args:
        generator, discriminators, spectra: their options.
        mel_weight, stft_weight, feature_weight, duration_weight, f0_weight: of the losses beside the adversarial one.
        refine_from: share of the training after which the stages join an excitation, which learns alone before.
        adversarial_from: share of the training after which the discriminators join; 1 leaves them out.
        learning_rate: of both optimizers.
        betas, weight_decay: of AdamW.
        clip: largest gradient norm of the generator and of the discriminators; 0 clips nothing.
        seed: of the start.
    """

    generator: GeneratorOptions
    discriminators: DiscriminatorOptions
    spectra: SpectraOptions
    mel_weight: float
    stft_weight: float
    feature_weight: float
    duration_weight: float
    f0_weight: float
    refine_from: float
    adversarial_from: float
    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    seed: int

    def __post_init__(self) -> None:
        for name in ("mel_weight", "stft_weight", "feature_weight", "duration_weight", "f0_weight", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("refine_from", "adversarial_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share of the training in 0..1, got {getattr(self, name)}")


class Learner(pl.LightningModule):
    """Manual optimisation: two optimizers take turns."""

    def __init__(self, options: LearnerOptions) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.options = options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.generator = Generator(options.generator)
            set_out(self.generator)
            for layer in _convolutions(self.generator):
                weight_norm(layer)
            self.discriminators = Discriminators(options.discriminators)
        self.spectra = Spectra(options.spectra)

    def training_step(self, batch: dict[str, Any], index: int) -> dict[str, torch.Tensor]:
        natural = batch["samples"]
        joined = self.join(batch["rows"]) * batch["inside"]
        excitation, losses = self.excite(joined, batch)
        margin = (joined.shape[2] * self.options.generator.hop - natural.shape[1]) // (2 * self.options.generator.hop)
        joined = joined[:, :, margin : joined.shape[2] - margin]
        made = self.speak(joined, excitation, is_refined=progress_of(self) >= self.options.refine_from)
        is_adversarial = len(self.discriminators) > 0 and progress_of(self) >= self.options.adversarial_from
        zero = natural.new_zeros(())
        losses["discriminator"] = self._train_discriminators(natural, made.detach()) if is_adversarial else zero
        losses["mel"] = self.spectra.mel_distance(made, natural)
        losses["stft"] = self.spectra.stft_distance(made, natural) if self.options.stft_weight else zero
        losses["duration"] = self.duration_loss(batch["units"], batch["durations"])
        losses["adversarial"], losses["features"] = self._verdict(natural, made) if is_adversarial else (zero, zero)
        loss = (
            self.options.mel_weight * losses["mel"]
            + self.options.stft_weight * losses["stft"]
            + self.options.duration_weight * losses["duration"]
            + self.options.f0_weight * losses.get("f0", 0.0)
            + losses["adversarial"]
            + self.options.feature_weight * losses["features"]
        )
        self._step(loss, self.generator, self._optimizers[0])
        return {"loss": loss.detach(), **{name: value.detach() for name, value in losses.items()}}

    def join(self, rows: torch.Tensor) -> torch.Tensor:
        """Joined embeddings ``float32[B, C, T]`` of rows ``int64[B, tables, T]``."""
        tables = self.generator.options.tables
        parts = [self.generator.get_submodule(name)(rows[:, at]) for at, name in enumerate(tables)]
        return torch.cat(parts, dim=2).transpose(1, 2)

    def speak(self, joined: torch.Tensor, excitation: Excitation | None, *, is_refined: bool) -> torch.Tensor:
        """``float32[B, N]``: by all of the generator, or by its excitation alone where it has one."""
        if excitation is None or is_refined:
            return self.generator(joined, excitation)
        return excitation(0, joined.shape[2] * self.options.generator.hop).sum(1)

    def excite(self, joined: torch.Tensor, batch: dict[str, Any]) -> tuple[Excitation | None, dict[str, torch.Tensor]]:
        """By the natural F0, of joined embeddings with their margin, and how far the predicted logarithm is from it."""
        if self.generator.options.excitation is None:
            return None, {}
        f0, voiced = batch["f0"], batch["voiced"]
        pitch, gains = self.generator.predictor(joined, batch["inside"], batch["is_known"])
        margin = (pitch.shape[1] - f0.shape[1]) // 2
        pitch, gains = (found[:, margin : margin + f0.shape[1]] for found in (pitch, gains))
        off = ((pitch - f0.log()).abs() * voiced).sum() / voiced.sum().clamp_min(1)
        return self.generator.excite(f0, gains, batch["origin"]), {"f0": off}

    def duration_loss(self, units: list[torch.Tensor], durations: list[torch.Tensor]) -> torch.Tensor:
        """Squared error of ``log(frames + 1)`` over all units; utterances one by one, as padding would leak in."""
        if self.generator.options.duration is None:
            return torch.zeros((), device=self.device)
        table, predict = self.generator.get_submodule("dict"), self.generator.dur_predictor
        found = torch.cat([predict(table(row)[None])[0].float() for row in units])
        return (found - torch.log1p(torch.cat(durations))).square().mean()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The generator's, and that of the discriminators where there are any."""
        parts = [self.generator, self.discriminators] if len(self.discriminators) else [self.generator]
        return [
            torch.optim.AdamW(
                part.parameters(),
                lr=self.options.learning_rate,
                betas=self.options.betas,
                weight_decay=self.options.weight_decay,
            )
            for part in parts
        ]

    def plain(self) -> Generator:
        """The generator as it is, weight normalisation folded, on the CPU."""
        with torch.random.fork_rng(devices=[]):
            found = Generator(self.options.generator)
        state = {name: value.detach().float().cpu() for name, value in self.generator.state_dict().items()}
        load_exactly(found, fold_weight_norm(state, "hifigan"), "hifigan")
        return found.eval().requires_grad_(False)

    @property
    def _optimizers(self) -> list[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _train_discriminators(self, natural: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        loss = discriminator_loss(self.discriminators(natural), self.discriminators(made))
        # the optimizer itself and not Lightning's cover, which would count this as a step of the training
        self._step(loss, self.discriminators, self._optimizers[1].optimizer)
        return loss

    def _verdict(self, natural: torch.Tensor, made: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Adversarial and feature loss of made sounds; the discriminators themselves learn nothing from it."""
        self.discriminators.requires_grad_(False)
        verdict = self.discriminators(made)
        with torch.no_grad():
            wanted = self.discriminators(natural)
        self.discriminators.requires_grad_(True)
        return generator_loss(verdict), feature_loss(wanted, verdict)

    def _step(self, loss: torch.Tensor, part: nn.Module, optimizer: Any) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.options.clip:
            torch.nn.utils.clip_grad_norm_(part.parameters(), self.options.clip)
        optimizer.step()


@torch.no_grad()
def set_out(generator: Generator) -> None:
    """Start with values of one size from the units to the sound, and no biases.

    Ours, not the paper's. In 20 s on one core, one seed, held-out mel distance was 1.42 against 1.56 of PyTorch's own
    start at a learning rate of 0.005, and the same at 0.002.
    """
    gain = nn.init.calculate_gain("leaky_relu", SLOPE)
    for layer in _convolutions(generator):
        assert layer.bias is not None
        # each output of a transposed convolution sums over kernel / stride values of every input channel
        reach = layer.kernel_size[0] / (layer.stride[0] if isinstance(layer, nn.ConvTranspose1d) else 1)
        layer.weight.normal_(0, gain / (layer.in_channels * reach) ** 0.5)
        layer.bias.zero_()
    for block in generator.resblocks:
        for layer in block.convs2:
            layer.weight.mul_(RESIDUAL_GAIN)
    generator.conv_post.weight.mul_(OUTPUT_GAIN if generator.options.excitation is None else ADDED_GAIN)


def _convolutions(generator: Generator) -> Iterator[nn.Conv1d | nn.ConvTranspose1d]:
    """Those with weight normalisation: all but those of the predictors."""
    for name, layer in generator.named_modules():
        if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)) and not name.startswith(PREDICTORS):
            yield layer
