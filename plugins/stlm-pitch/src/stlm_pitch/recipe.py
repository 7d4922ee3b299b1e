"""`PitchVqvaeRecipe`: recordings to the VQ-VAE whose codes are pitch units.

F0 is found once per recording, which takes nearly all the time (with FCPE a fifteenth of the recordings' length on one
core); then crops of the contours train the network. What lies in `out` is what the encoder loads, with a
``report.json`` beside it: how well the units of held-out recordings give back their F0.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Recipe
from stlm.learn.f0_error import above, compare, mean_rate
from stlm.learn.training import TrainingOptions, train_module
from stlm.learn.vq import MovingCodebook, code_usage
from stlm.types import Utterance
from stlm_pitch.checkpoint import SAMPLE_RATE, Checkpoint
from stlm_pitch.contour import FEATURES, HOP, ContourOptions
from stlm_pitch.decode import decoded
from stlm_pitch.encoder import CHUNK, STREAM, F0Choice
from stlm_pitch.melodies import Melody, melodies_of
from stlm_pitch.training import Crops, LossWeights, PitchTraining
from stlm_pitch.vqvae import StackOptions, Vqvae, VqvaeOptions

log = logging.getLogger(__name__)

REPORT = "report.json"
FLOORS_HZ = (50.0, 100.0)  # the contour's own, and the protocol's
FEWEST_PER_ENTRY = 10
POOR_ERROR = 0.3
POOR_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions):
    """Options of the component ``pitch_vqvae``: those of every training, and these.

    Args:
        f0: component of kind ``f0_extractor``.
        f0_options: its options.
        features: what the network sees, by the official names; "norm" removes each recording's mean F0, "interp"
            draws lines over unvoiced frames.
        num_units: entries of the codebook.
        emb_width: their dimensions.
        downs, stride: strided convolutions and the stride of each: 2 ** 4 frames of 5 ms make a unit of 80 ms.
        width, depth, m_conv, dilation_growth_rate: of the stacks (`stlm_pitch.vqvae.StackOptions`).
        decay: of the codebook's moving averages.
        revive_below: rows a batch that choose an entry, on the moving average, below which it is put elsewhere.
        f0_weight, voicing_weight, commitment_weight: of the parts of the loss.
        huber_delta: deviations of F0 beyond which its loss grows in a straight line.
        batch_size: crops a batch.
        crop_units: units in a crop.
        held_out: share of the recordings that only the report sees; 0 reports on those trained on.
        stream: name of the stream.
    """

    max_steps: int = 100_000
    learning_rate: float = 3e-4
    warmup_steps: int = 100
    precision: str = "32-true"
    checkpoint_every: int = 1000
    f0: str = "fcpe"
    f0_options: dict[str, Any] = field(default_factory=dict)
    features: str = "norm_f0_interp,vuv"
    num_units: int = 64
    emb_width: int = 128
    downs: int = 4
    stride: int = 2
    width: int = 32
    depth: int = 4
    m_conv: float = 1.0
    dilation_growth_rate: int = 3
    decay: float = 0.99
    revive_below: float = 1.0
    f0_weight: float = 1.0
    voicing_weight: float = 1.0
    commitment_weight: float = 0.02
    huber_delta: float = 0.5
    batch_size: int = 256
    crop_units: int = 20
    held_out: float = 0.05
    stream: str = STREAM

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        for name in ("num_units", "emb_width", "downs", "width", "depth", "batch_size", "crop_units"):
            if getattr(self, name) < 1:
                raise ConfigError(f"pitch_vqvae: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.held_out <= 0.5:
            raise ConfigError(f"pitch_vqvae: held_out is a share from 0 to 0.5, got {self.held_out}")
        if self.features not in FEATURES:
            raise ConfigError(f"pitch_vqvae: features must be one of {FEATURES}, got {self.features!r}")

    @property
    def network(self) -> VqvaeOptions:
        stack = StackOptions(
            input_width=2,
            output_width=self.emb_width,
            downs=self.downs,
            stride=self.stride,
            width=self.width,
            depth=self.depth,
            m_conv=self.m_conv,
            dilation_growth_rate=self.dilation_growth_rate,
        )
        return VqvaeOptions(encoder=stack, decoder=stack, num_units=self.num_units, emb_width=self.emb_width)

    @property
    def settings(self) -> dict[str, Any]:
        """The ``config.yaml`` of the official layout."""
        stack = {
            "input_emb_width": 2,
            "output_emb_width": self.emb_width,
            "levels": 1,
            "downs_t": [self.downs],
            "strides_t": [self.stride],
            "width": self.width,
            "depth": self.depth,
            "m_conv": self.m_conv,
            "dilation_growth_rate": self.dilation_growth_rate,
        }
        vq = {"l_bins": self.num_units, "emb_width": self.emb_width, "mu": self.decay, "levels": 1}
        return {
            "features": self.features,
            "speaker_norm": False,
            "sampling_rate": SAMPLE_RATE,
            "vq_params": vq,
            "encoder_params": stack,
            "decoder_params": dict(stack),
        }


def build(config: Config) -> PitchVqvaeRecipe:
    return PitchVqvaeRecipe(config)


class PitchVqvaeRecipe(Recipe):
    """Trains a VQ-VAE over F0; half an hour of a dozen voices and two minutes of one core are enough."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        options = ContourOptions.from_features(config.features, speaker_norm=False)
        f0 = F0Choice.of(config.f0, config.f0_options, _device(config.accelerator))
        learnt, kept = _parted(melodies_of(utterances, f0.extractor, options), config.held_out)
        rows = [melody.rows for melody in learnt]
        _check_enough(rows, config)
        module = self._module(rows)
        draw = Crops(rows, config.crop_units * config.network.encoder.ratio, config.batch_size)
        seconds = draw.length * HOP / SAMPLE_RATE * config.batch_size
        train_module(module, draw, out, config, label="pitch_vqvae", seconds_per_batch=seconds)
        vqvae = module.finished()
        _write_report(report(vqvae, kept), out / REPORT)
        extras = {"stream": config.stream, "f0": f0.name, "f0_options": dict(f0.options), "chunk": CHUNK}
        Checkpoint(vqvae=vqvae, contour=options, settings=config.settings, extras={}).save(out, extras)

    def _module(self, rows: Sequence[torch.Tensor]) -> PitchTraining:
        config = self.config
        codebook = MovingCodebook(
            config.num_units, config.emb_width, decay=config.decay, revive_below=config.revive_below, seed=config.seed
        )
        weights = LossWeights(
            f0=config.f0_weight,
            voicing=config.voicing_weight,
            commitment=config.commitment_weight,
            delta=config.huber_delta,
        )
        return PitchTraining(
            config.network,
            codebook,
            scale_hz=_deviation(rows),
            weights=weights,
            learning_rate=config.learning_rate,
            seed=config.seed,
        )


def report(vqvae: Vqvae, melodies: Sequence[Melody]) -> dict[str, float]:
    """How well units give back F0: its frame error at two floors, and how many entries of the codebook are in use."""
    with torch.inference_mode():
        codes = [vqvae.quantize(vqvae.encode(melody.rows[None]))[0] for melody in melodies]
    heard = [decoded(vqvae, found.numpy(), melody.mean_hz) for found, melody in zip(codes, melodies, strict=True)]
    figures: dict[str, float] = {"recordings": len(melodies)}
    for floor in FLOORS_HZ:
        errors = [
            compare(above(melody.f0[: len(f0)], floor), above(f0, floor))
            for f0, melody in zip(heard, melodies, strict=True)
        ]
        figures[f"f0_frame_error_{floor:.0f}hz"] = mean_rate(errors)
        figures[f"gross_error_{floor:.0f}hz"] = sum(item.gross for item in errors) / sum(item.frames for item in errors)
    usage = code_usage(torch.cat(codes), vqvae.options.num_units)
    return {**figures, "codes_used": usage.share, "perplexity": usage.perplexity}


def _write_report(figures: dict[str, float], path: Path) -> None:
    path.write_text(json.dumps(figures, indent=2) + "\n")
    log.info("held out: %s", ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    if figures["f0_frame_error_50hz"] > POOR_ERROR or figures["codes_used"] < POOR_SHARE:
        log.warning(
            "the units are poor: F0 frame error %.0f %% (expected below %.0f), %.0f %% of the codebook in use (above "
            "%.0f): train longer, or on more speech",
            *(100 * value for value in (figures["f0_frame_error_50hz"], POOR_ERROR, figures["codes_used"], POOR_SHARE)),
        )


def _parted(melodies: list[Melody], share: float) -> tuple[list[Melody], list[Melody]]:
    """Those to learn from, and every n-th, held out for the report; all for both where that would leave none."""
    every = round(1 / share) if share else 0
    if not every or len(melodies) < 2:
        return melodies, melodies
    kept = melodies[:: min(every, len(melodies))]
    return [melody for index, melody in enumerate(melodies) if index % min(every, len(melodies))], kept


def _check_enough(rows: Sequence[torch.Tensor], config: Config) -> None:
    units = sum(row.shape[1] for row in rows) // config.network.encoder.ratio
    if units < FEWEST_PER_ENTRY * config.num_units:
        raise DataError(
            f"pitch_vqvae got speech for {units} units and has {config.num_units} codebook entries, expected at least "
            f"{FEWEST_PER_ENTRY} units an entry: give more recordings, or set num_units lower"
        )


def _deviation(rows: Sequence[torch.Tensor]) -> float:
    """Hz: standard deviation of the voiced frames' F0, as the network sees it, from 0; 1 for a perfect monotone."""
    heard = torch.cat([row[0][row[1] > 0] for row in rows])
    return max(float(heard.square().mean().sqrt()), 1.0)


def _device(accelerator: str) -> str:
    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
