"""`HifiganRecipe`: recordings and encoders to the vocoder that speaks their units.

Recordings are encoded once, then `stlm_hifigan.learner.Learner` trains on stretches of them. Out come our layout, the
official one in ``official/``, and ``report.json`` with what the vocoder makes of recordings that it did not learn from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from stlm.errors import ConfigError, FormatError
from stlm.interfaces import Recipe, SpeechUnitEncoder
from stlm.learn.machine import resolve_precision
from stlm.learn.training import TrainingOptions, train_module
from stlm.learn.weights import round_to_half
from stlm.plugin import default_registry
from stlm.types import StreamSpec, Utterance
from stlm_hifigan.corpus import Corpus, Melodist, Segments, Spoken, check_encoders, encode_corpus
from stlm_hifigan.discriminators import DiscriminatorOptions
from stlm_hifigan.excitation import REACH, ExcitationOptions
from stlm_hifigan.generator import GeneratorOptions
from stlm_hifigan.learner import Learner, LearnerOptions
from stlm_hifigan.outcome import Listening, checkpoint_of, figures, seconds_of
from stlm_hifigan.spectra import SpectraOptions

REPORT = "report.json"
OFFICIAL = "official"
MOST_HELD_OUT = 100
"""Recordings; more would say little more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions):
    """Options of the component ``hifigan``: those of the training, and these.

    Args:
        encoders: components with their options by what they are for: ``units``, and where wanted ``pitch`` and
            ``style``.
        style_label: the label of utterances whose values are named styles, as in the official base vocoder; "": none.
        batch_size: stretches in a batch.
        segment_frames: units in each stretch; shorter recordings are left out.
        embedding_dim: width of each embedding table.
        upsample_rates, upsample_kernels: of the generator's stages; the rates' product is the hop of the units.
        initial_channels: before the first stage; each halves them.
        resblock_kernels, resblock_dilations: of the residual blocks of each stage; each block has all dilations.
        duration_width: hidden width of the duration predictor; 0: none.
        excitation_width: hidden width of what predicts the pulses and noise that the generator starts from; 0: it makes
            its tone itself. The official layout knows no excitation.
        excitation_tone_width: hidden width of what predicts its F0, apart from the gains, both by twenty units around
            each.
        excitation_frames, excitation_bands: F0 values, and gains of as many bands, for each unit.
        f0_extractor: component with its options that finds the F0 that an excitation is learnt from.
        periods, period_channels, scales, scale_channels, scale_strides, scale_groups, scale_kernel: of the
            discriminators, see `DiscriminatorOptions`.
        unknown_voice: with an excitation, share of the stretches whose F0 is told without the speaker, as it is
            where no voice is asked for.
        refine_from: share of the training after which the stages join an excitation, which learns alone before.
        adversarial_from: share of the training after which the discriminators join; 1 leaves them out.
        num_mels, mel_window, mel_hop: of the mel distance; lengths in samples.
        stft_windows: of the log-magnitude distance.
        mel_weight, stft_weight, feature_weight, duration_weight, f0_weight: of the losses, beside 1 of the adversarial
            one.
        betas, weight_decay: of AdamW.
        held_out: share of the recordings that is kept from training, for the report and the audio samples.
        num_samples: recordings that are heard in TensorBoard.
        official: whether to write the official layout too.
        half: whether the weights are rounded to float16 in the end; their file is half as long.
    """

    max_steps: int = 400_000
    learning_rate: float = 2e-4
    warmup_steps: int = 0
    clip: float = 0.0
    checkpoint_every: int = 5000
    report_every: int = 100
    sample_every: int = 10_000
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    style_label: str = ""
    batch_size: int = 16
    segment_frames: int = 14
    embedding_dim: int = 128
    upsample_rates: tuple[int, ...] = (5, 4, 4, 4, 2)
    upsample_kernels: tuple[int, ...] = (11, 8, 8, 8, 4)
    initial_channels: int = 512
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[int, ...] = (1, 3, 5)
    duration_width: int = 128
    excitation_width: int = 0
    excitation_tone_width: int = 64
    excitation_frames: int = 4
    excitation_bands: int = 64
    f0_extractor: dict[str, Any] = field(default_factory=lambda: {"name": "fcpe"})
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (64, 128, 256, 512, 1024)
    scales: int = 3
    scale_channels: tuple[int, ...] = (128, 128, 256, 512, 1024, 1024)
    scale_strides: tuple[int, ...] = (1, 2, 2, 4, 4, 1)
    scale_groups: tuple[int, ...] = (1, 4, 16, 16, 16, 16)
    scale_kernel: int = 41
    unknown_voice: float = 0.3
    refine_from: float = 0.0
    adversarial_from: float = 0.0
    num_mels: int = 80
    mel_window: int = 1024
    mel_hop: int = 256
    stft_windows: tuple[int, ...] = (512, 1024, 2048)
    mel_weight: float = 45.0
    stft_weight: float = 0.0
    feature_weight: float = 2.0
    duration_weight: float = 1.0
    f0_weight: float = 1.0
    betas: tuple[float, ...] = (0.8, 0.99)
    weight_decay: float = 0.01
    held_out: float = 0.02
    num_samples: int = 4
    official: bool = True
    half: bool = False

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        for name in ("batch_size", "segment_frames", "embedding_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"hifigan: {name} must be at least 1, got {getattr(self, name)}")
        if len(self.betas) != 2:
            raise ConfigError(f"hifigan: betas are two numbers, got {list(self.betas)}")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"hifigan: held_out is a share of the recordings in 0..1, got {self.held_out}")
        if self.excitation_width and self.official:
            raise ConfigError("hifigan: the official layout has no excitation: official=false, or excitation_width=0")


def build(config: Config) -> HifiganRecipe:
    return HifiganRecipe(config)


class HifiganRecipe(Recipe):
    """Trains a vocoder; encoders may be given as they are, instead of by name."""

    def __init__(self, config: Config, encoders: Mapping[str, SpeechUnitEncoder] | None = None) -> None:
        if resolve_precision(config.precision) == "16-mixed":
            raise ConfigError("hifigan trains two networks and scales no losses: precision bf16-mixed or 32-true")
        self.config, self._given = config, encoders
        spectra_options(config, 16000)
        generator_options(config, {"dict": 1}, 16000)
        _discriminators(config)

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        encoders = self._given or _encoders(config.encoders)
        check_encoders(encoders, config.style_label)
        spectra = spectra_options(config, encoders["units"].spec.sample_rate)
        _check_lengths(config, encoders["units"].spec, spectra)
        corpus = encode_corpus(
            utterances,
            encoders,
            style_label=config.style_label,
            shortest=config.segment_frames,
            melodist=_melodist(config) if config.excitation_width else None,
        )
        learner = Learner(learner_options(config, corpus, spectra))
        kept, held_out = divided(corpus.spoken, config.held_out, config.seed)
        listen = Listening(learner, corpus, (held_out or kept)[: config.num_samples])
        train_module(
            learner,
            Segments(
                corpus,
                kept,
                config.batch_size,
                config.segment_frames,
                margin=REACH if config.excitation_width else 0,
                unknown_voice=config.unknown_voice,
            ),
            out,
            config,
            label="hifigan",
            seconds_per_batch=config.batch_size * config.segment_frames / corpus.specs["units"].frame_rate_hz,
            samples=listen if config.num_samples else None,
        )
        checkpoint = checkpoint_of(learner, corpus)
        if config.half:
            round_to_half(checkpoint.generator)
        checkpoint.save(out, checkpoint.extras)
        if config.official:
            (out / OFFICIAL).mkdir(exist_ok=True)
            checkpoint.save_official(out / OFFICIAL, checkpoint.extras)
        report = {
            "generator_parameters": sum(value.numel() for value in checkpoint.generator.parameters()),
            "voices": len(corpus.voices),
            "trained_on": {"recordings": len(kept), "seconds": seconds_of(corpus, kept)},
            "held_out": figures(checkpoint, corpus, held_out, spectra),
        }
        (out / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def divided(spoken: list[Spoken], share: float, seed: int) -> tuple[list[Spoken], list[Spoken]]:
    """What is learnt from, and what is held out: at least one of two where any is asked for."""
    count = min(max(1, round(share * len(spoken))), MOST_HELD_OUT) if share and len(spoken) > 1 else 0
    chosen = set(np.random.default_rng([seed, len(spoken)]).permutation(len(spoken))[:count].tolist())
    kept = [item for index, item in enumerate(spoken) if index not in chosen]
    return kept, [spoken[index] for index in sorted(chosen)]


def _encoders(chosen: Mapping[str, Any]) -> dict[str, SpeechUnitEncoder]:
    found: dict[str, SpeechUnitEncoder] = {}
    for role, options in chosen.items():
        if not isinstance(options, Mapping) or "name" not in options:
            raise ConfigError(
                f"hifigan: encoders.{role} is {options!r}, expected a component with its options: "
                f"encoders.{role}={{name: hubert, path: DIR}}"
            )
        rest = {str(key): value for key, value in options.items() if key != "name"}
        encoder = default_registry().build("unit_encoder", options["name"], rest)
        if not isinstance(encoder, SpeechUnitEncoder):
            raise ConfigError(f"hifigan: encoders.{role}: {options['name']} reads text, expected an encoder of speech")
        found[role] = encoder
    return found


def _melodist(config: Config) -> Melodist:
    chosen = dict(config.f0_extractor)
    if "name" not in chosen:
        raise ConfigError(f"hifigan: f0_extractor is {chosen}, expected a component: f0_extractor={{name: fcpe}}")
    extractor = default_registry().build("f0_extractor", chosen.pop("name"), chosen)
    return Melodist(extractor=extractor, frames=config.excitation_frames)


def _check_lengths(config: Config, units: StreamSpec, spectra: SpectraOptions) -> None:
    made, segment = math.prod(config.upsample_rates), config.segment_frames * units.hop
    if made != units.hop:
        raise ConfigError(
            f"hifigan: upsample_rates {list(config.upsample_rates)} make {made} samples of a unit, but one of stream "
            f"{units.name!r} lasts {units.hop}: choose rates with that product"
        )
    if segment < spectra.shortest:
        raise ConfigError(
            f"hifigan: segment_frames {config.segment_frames} are {segment} samples, expected at least "
            f"{spectra.shortest} for the windows of the spectra: raise segment_frames"
        )


def spectra_options(config: Config, sample_rate: int) -> SpectraOptions:
    return SpectraOptions(
        sample_rate=sample_rate,
        mel_window=config.mel_window,
        mel_hop=config.mel_hop,
        num_mels=config.num_mels,
        stft_windows=tuple(config.stft_windows) if config.stft_weight else (),
    )


def _discriminators(config: Config) -> DiscriminatorOptions:
    given = {entry.name: getattr(config, entry.name) for entry in fields(DiscriminatorOptions)}
    return DiscriminatorOptions(**{key: tuple(v) if isinstance(v, (list, tuple)) else v for key, v in given.items()})


def generator_options(config: Config, tables: Mapping[str, int], sample_rate: int) -> GeneratorOptions:
    """With so many rows of each table.

    Raises:
        ConfigError: the sizes fit no generator.
    """
    try:
        return GeneratorOptions(
            tables={table: (rows, config.embedding_dim) for table, rows in tables.items()},
            upsample_rates=tuple(config.upsample_rates),
            upsample_kernels=tuple(config.upsample_kernels),
            initial_channels=config.initial_channels,
            resblock_kernels=tuple(config.resblock_kernels),
            resblock_dilations=(tuple(config.resblock_dilations),) * len(config.resblock_kernels),
            duration=(config.duration_width, 3) if config.duration_width else None,
            excitation=_excitation(config, sample_rate) if config.excitation_width else None,
        )
    except FormatError as error:
        raise ConfigError(f"hifigan: {error}") from error


def _excitation(config: Config, sample_rate: int) -> ExcitationOptions:
    return ExcitationOptions(
        frames=config.excitation_frames,
        width=config.excitation_width,
        tone_width=config.excitation_tone_width,
        bands=config.excitation_bands,
        sample_rate=sample_rate,
    )


def learner_options(config: Config, corpus: Corpus, spectra: SpectraOptions) -> LearnerOptions:
    own = ("generator", "discriminators", "spectra", "betas")
    same = {entry.name: getattr(config, entry.name) for entry in fields(LearnerOptions) if entry.name not in own}
    return LearnerOptions(
        generator=generator_options(config, corpus.tables, spectra.sample_rate),
        discriminators=_discriminators(config),
        spectra=spectra,
        betas=(config.betas[0], config.betas[1]),
        **same,
    )
