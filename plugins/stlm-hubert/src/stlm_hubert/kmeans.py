"""`HubertKMeansRecipe`: recordings and a trained model to the centroids that the encoder ``hubert`` loads.

Frames of one layer are computed once and a uniform sample of them is kept; an hour of sound takes about 16 s of one
core with the tiny model. `passes` reads everything again, in mini-batches, for codebooks too large for a sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Recipe
from stlm.learn.kmeans import assign, fit_kmeans, mini_batch_pass, sample_rows
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.unit_quality import unit_usage
from stlm.types import Utterance
from stlm_hubert.encoder import HubertKMeansEncoder
from stlm_hubert.frames import frames_of
from stlm_hubert.model_25hz import SAMPLE_RATE
from stlm_hubert.pretrained import normalizes, read_pretrained
from stlm_hubert.targets import warn_of_unused

REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``hubert_kmeans``.

    Args:
        path: directory or hub name of a model of type hubert or wav2vec2.
        layer: whose output, 1 for the first; as many as there are or more for the last.
        num_units: K.
        normalize: bring each wave to mean 0 and variance 1; None asks the model's ``preprocessor_config.json``.
        stream: name of the stream.
        chunk: samples of the longest piece that the encoder takes as one.
        sample_size: frames that k-means sees.
        iterations: upper limit of its steps.
        passes: over all audio after it, in mini-batches.
        precision: of the model, ``fp32`` or ``bf16``.
        device: where to compute; "" takes the GPU where there is one.
        seed: decides the sample and the start.
    """

    path: str = ""
    layer: int = 6
    num_units: int = 500
    normalize: bool | None = None
    stream: str = "hubert"
    chunk: int = 1_600_000
    sample_size: int = 1_000_000
    iterations: int = 100
    passes: int = 0
    precision: str = "fp32"
    device: str = ""
    seed: int = 0


def build(config: Config) -> HubertKMeansRecipe:
    if not config.path:
        raise ConfigError("hubert_kmeans needs a model: set path to a directory or hub name, got ''")
    if not 0 < config.num_units <= 1 << 16:
        raise ConfigError(f"num_units must lie in 1..65536, got {config.num_units}")
    return HubertKMeansRecipe(config)


class HubertKMeansRecipe(Recipe):
    """Leaves the model, its centroids and ``report.json``; ``unit_encoder=hubert path=OUT`` loads them."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        place = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
        model = read_pretrained(config.path)
        normalize = normalizes(config.path) if config.normalize is None else config.normalize
        transformer = SpeechTransformer(
            model,
            layer=config.layer,
            normalize=normalize,
            precision=config.precision,  # pyright: ignore[reportArgumentType]
            device=place,
        )
        recordings = Recordings(
            utterances, SAMPLE_RATE, shortest=transformer.window / SAMPLE_RATE, what="hubert_kmeans"
        )
        warn_of_one_speaker(recordings.utterances, "hubert_kmeans")

        def frames() -> Iterator[torch.Tensor]:
            return (torch.cat(rows) for rows in frames_of(recordings, transformer.hidden))

        sample = sample_rows(frames(), config.sample_size, torch.Generator().manual_seed(config.seed))
        if not bool(sample.isfinite().all()):
            raise DataError(f"{config.path}: frames hold NaN or infinity, expected numbers: the model is damaged")
        centroids = fit_kmeans(
            [sample],
            config.num_units,
            seed=config.seed,
            sample_size=len(sample),
            iterations=config.iterations,
            device=place,
        )
        for _ in range(config.passes):
            centroids = mini_batch_pass(frames(), centroids.to(place)).cpu()
        usage = unit_usage(assign(sample, centroids).numpy(), config.num_units)
        warn_of_unused(usage, config.num_units, "hubert_kmeans")
        HubertKMeansEncoder(
            model, centroids, layer=config.layer, normalize=normalize, stream=config.stream, chunk=config.chunk
        ).save(out)
        report = {"frames": len(sample), "used": usage.share, "perplexity": usage.perplexity}
        (out / REPORT).write_text(json.dumps(report, indent=2) + "\n")
