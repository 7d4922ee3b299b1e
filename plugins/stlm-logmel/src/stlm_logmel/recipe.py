"""`LogMelKMeansRecipe`: utterances to the codebook that the encoder and the vocoder load.

One pass over the audio keeps a uniform sample of frames, each with its features and with the log-mel frames of the same
stretch; k-means clusters the former, and the mean of the latter is what a cluster sounds like. 10 minutes of speech and
200 units take about 2 s on one core.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from stlm.errors import ConfigError
from stlm.interfaces import Recipe
from stlm.learn.kmeans import assign, fit_kmeans, sample_rows
from stlm.learn.sounds import sounds_of
from stlm.learn.threads import one_thread
from stlm.types import Utterance
from stlm_logmel.codebook import Codebook
from stlm_logmel.features import FeatureOptions, UnitFeatures
from stlm_logmel.sounds import Sounds

log = logging.getLogger(__name__)

BATCH_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(FeatureOptions):
    """Options of the component ``logmel_kmeans``: those of the features, and these.

    Args:
        num_units: clusters.
        smoothness: the n-th cepstrum weighs ``n ** -smoothness`` after all are brought to one deviation. The smooth
            part of a spectrum tells more of the sound and less of the speaker: 0.5 instead of 0 raised cross-speaker
            word ABX from 0.72 to 0.78 (153 real files, 200 units).
        stream: name of the stream.
        sample_size: frames that k-means sees, drawn from all audio; 100,000 are 67 minutes at 25 Hz.
        max_hours: stop reading after this much audio; 0 reads everything.
        iterations: upper limit of k-means steps.
        seed: decides the sample and the start.
    """

    num_units: int = 200
    smoothness: float = 0.5
    stream: str = "logmel"
    sample_size: int = 100_000
    max_hours: float = 0.0
    iterations: int = 50
    seed: int = 0


def build(config: Config) -> LogMelKMeansRecipe:
    return LogMelKMeansRecipe(config)


class LogMelKMeansRecipe(Recipe):
    """Fits a codebook; a few minutes of speech and one CPU core are enough."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        if not 0 < self.config.num_units <= 1 << 16:
            raise ConfigError(f"num_units must lie in 1..65536, got {self.config.num_units}")

    @one_thread()
    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        options = FeatureOptions(**{field.name: getattr(config, field.name) for field in fields(FeatureOptions)})
        features, sounds = UnitFeatures(options), Sounds(options)
        rows = (torch.cat([features.joined(batch), sounds.joined(batch)], 1) for batch in self._batches(utterances))
        sample = sample_rows(rows, config.sample_size, torch.Generator().manual_seed(config.seed))
        seen, heard = sample[:, : options.num_dimensions], sample[:, options.num_dimensions :]
        scale = _weights(options, config.smoothness) / seen.std(0, correction=0).clamp_min(1e-3)
        centroids = fit_kmeans(
            [seen * scale], config.num_units, seed=config.seed, sample_size=len(sample), iterations=config.iterations
        )
        codes = assign(seen * scale, centroids)
        means = _means(heard, codes, config.num_units)
        Codebook(
            features=options,
            stream=config.stream,
            centroids=centroids,
            scale=scale,
            sounds=means.view(config.num_units, options.fine_per_unit, -1),
            colour=sounds.colour + _lost_level(heard, means, codes),
        ).save(out)
        log.info("fitted %d units on %d frames", config.num_units, len(sample))

    def _batches(self, utterances: Iterable[Utterance]) -> Iterator[list[np.ndarray]]:
        """Samples of about two minutes of audio at a time."""
        batch: list[np.ndarray] = []
        seconds = total = 0.0
        for audio in sounds_of(utterances, self.config.sample_rate):
            batch.append(audio.samples)
            seconds, total = seconds + audio.seconds, total + audio.seconds
            if seconds >= BATCH_SECONDS:
                yield batch
                batch, seconds = [], 0.0
            if self.config.max_hours and total >= self.config.max_hours * 3600:
                break
        if batch:
            yield batch


def _weights(options: FeatureOptions, smoothness: float) -> torch.Tensor:
    """``float32[D]``: what each feature counts; bands, unlike cepstra, all count the same."""
    order = torch.arange(options.num_coefficients, dtype=torch.float32).clamp_min(1)
    return (order**-smoothness if options.num_cepstra else torch.ones_like(order)).repeat(options.orders)


def _means(rows: torch.Tensor, codes: torch.Tensor, num_units: int) -> torch.Tensor:
    """``float32[K, D]``: the mean of each cluster's rows; the mean of all where a cluster has none."""
    counts = torch.bincount(codes, minlength=num_units)
    sums = torch.segment_reduce(rows[codes.argsort(stable=True)].double(), "sum", lengths=counts)
    means = sums / counts.clamp_min(1)[:, None]
    return torch.where(counts[:, None] > 0, means, rows.double().mean(0)).float()


def _lost_level(rows: torch.Tensor, means: torch.Tensor, codes: torch.Tensor) -> float:
    """Log ratio of the power of all frames to that of their clusters' means: averaging logarithms loses some 8 dB."""
    before = float(rows.exp().double().sum())
    after = float((means.exp().double().sum(1) * torch.bincount(codes, minlength=len(means))).sum())
    return math.log(before / after)
