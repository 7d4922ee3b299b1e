"""`StyleUnitsRecipe`: labelled recordings to style units, one a second.

Three stages: a wav2vec2 learns to tell the labels apart, second by second; k-means clusters what its projector makes of
each second; the clusters become the classes of its classifier. So the units know more than the labels: a style comes
apart into as many shades as it has clusters. What lies in `out` is a ``Wav2Vec2ForSequenceClassification`` that the
encoder and transformers load, with a ``report.json``; ``labels/`` holds the same network with the labels for classes.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Recipe
from stlm.learn.kmeans import fit_kmeans
from stlm.learn.sounds import Recordings
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.training import TrainingOptions, train_module
from stlm.learn.weights import round_to_half
from stlm.types import Utterance
from stlm_style.encoder import CHUNK, SHORTEST
from stlm_style.filters import start_as_filters
from stlm_style.model import classifier_upon, labelled, new_classifier, quantized
from stlm_style.pooling import SAMPLE_RATE, means
from stlm_style.report import POOR_ACCURACY, Seconds, report
from stlm_style.training import Clips, StyleTraining

log = logging.getLogger(__name__)

REPORT = "report.json"
LABELS = "labels"
"""The classifier of the labels, which ``classifier=style_w2v2`` loads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions):
    """Options of the component ``style_units``: those of every training, and these.

    Args:
        label: what tells styles apart: a key of the utterances' labels, or "speaker".
        num_units: clusters.
        path: directory of a trained wav2vec2 or HuBERT to begin with; empty: random weights of the sizes below.
        freeze_front_end: leave the convolutions of `path` as they are.
        projection: dimensions of a second.
        hidden_size, num_layers, num_heads: of the transformer; its feed-forward is four times as wide.
        conv_dim, conv_kernel, conv_stride: of the convolutions over the wave.
        positions: kernel of the positional convolution, in frames, in 8 groups.
        filters_hz: the first convolution starts as Gabor filters between these; empty: at random.
        clip_seconds: lengths of what is learnt from; each batch has one of them.
        batch_seconds: of audio in a batch.
        speed: clips are up to so much faster or slower, their pitch with it; 0 where pace is part of the style.
        semitones: every other clip is up to so much higher or lower at its speed, formants too.
        colour_db: deviation of the gain from octave to octave.
        snr_db: loudest noise that is added.
        weight_decay: of AdamW.
        sample_size: seconds that k-means sees.
        held_out: share of the recordings that only the report sees; 0 reports on those trained on.
        half: whether the weights are rounded to float16 in the end; their file is half as long.
    """

    max_steps: int = 20_000
    learning_rate: float = 3e-5
    warmup_steps: int = 2000
    checkpoint_every: int = 1000
    label: str = "style"
    num_units: int = 100
    path: str = ""
    freeze_front_end: bool = True
    projection: int = 256
    hidden_size: int = 128
    num_layers: int = 2
    num_heads: int = 4
    conv_dim: tuple[int, ...] = (160, 128, 128)
    conv_kernel: tuple[int, ...] = (640, 8, 8)
    conv_stride: tuple[int, ...] = (160, 2, 2)
    positions: int = 32
    filters_hz: tuple[float, ...] = (60.0, 4000.0)
    clip_seconds: tuple[float, ...] = (2.0, 4.0)
    batch_seconds: float = 128.0
    speed: float = 0.0
    semitones: float = 4.0
    colour_db: float = 6.0
    snr_db: float = 10.0
    weight_decay: float = 0.01
    sample_size: int = 200_000
    held_out: float = 0.05
    half: bool = False

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        for name in ("num_units", "projection", "num_layers", "batch_seconds", "sample_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"style_units: {name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.held_out <= 0.5 or not 0 <= self.speed < 1:
            raise ConfigError(
                f"style_units: held_out is a share from 0 to 0.5 and speed one from 0 to 1, got {self.held_out} and "
                f"{self.speed}"
            )
        if not self.clip_seconds or not min(self.clip_seconds) >= 0.5:
            raise ConfigError(f"style_units: clip_seconds must be 0.5 s or longer, got {list(self.clip_seconds)}")
        if len(self.filters_hz) not in (0, 2):
            raise ConfigError(f"style_units: filters_hz must be two frequencies or none, got {list(self.filters_hz)}")

    @property
    def sizes(self) -> dict[str, Any]:
        """Of a random start, by Hugging Face's names."""
        return {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "intermediate_size": 4 * self.hidden_size,
            "conv_dim": list(self.conv_dim),
            "conv_kernel": list(self.conv_kernel),
            "conv_stride": list(self.conv_stride),
            "conv_bias": True,
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "num_conv_pos_embeddings": self.positions,
            "num_conv_pos_embedding_groups": 8,
            "classifier_proj_size": self.projection,
        }


def build(config: Config) -> StyleUnitsRecipe:
    return StyleUnitsRecipe(config)


class StyleUnitsRecipe(Recipe):
    """Trains a classifier of styles, and the units of what it hears."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        recordings = Recordings(utterances, SAMPLE_RATE, shortest=SHORTEST / SAMPLE_RATE, what="style_units")
        names, labels = labels_of(recordings.utterances, config.label)
        _check_enough(recordings, config.num_units)
        learnt, kept = _parted(recordings, config.held_out)
        module = self._module(len(names))
        clips = Clips(
            _chosen(recordings, learnt),
            labels[learnt],
            seconds=config.clip_seconds,
            batch_seconds=config.batch_seconds,
            speed=config.speed,
            semitones=config.semitones,
            colour_db=config.colour_db,
            snr_db=config.snr_db,
        )
        train_module(module, clips, out, config, label="style_units", seconds_per_batch=config.batch_seconds)
        if config.half:
            round_to_half(module.model)
        device = "cuda" if config.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
        seen = _seconds(module, _chosen(recordings, learnt), labels[learnt], device)
        centroids = fit_kmeans(
            [seen.rows], config.num_units, seed=config.seed, sample_size=config.sample_size, device="cpu"
        )
        heard = _seconds(module, _chosen(recordings, kept), labels[kept], device)
        figures = report(seen, heard, centroids, names)
        (out / REPORT).write_text(json.dumps(figures, indent=2) + "\n")
        _say(figures, len(names))
        quantized(module.model, centroids).save(out, CHUNK)
        (out / LABELS).mkdir(exist_ok=True)
        labelled(module.model, names).save(out / LABELS, CHUNK)

    def _module(self, num_labels: int) -> StyleTraining:
        config = self.config
        if config.path:
            model = classifier_upon(config.path, config.projection, num_labels, config.seed)
            if config.freeze_front_end:
                model.freeze_feature_encoder()
        else:
            model = new_classifier(config.sizes, num_labels, config.seed)
            if config.filters_hz:
                start_as_filters(model, *config.filters_hz)
        return StyleTraining(
            model,
            hop=math.prod(model.config.conv_stride),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
        )


def labels_of(utterances: Sequence[Utterance], label: str) -> tuple[list[str], np.ndarray]:
    """Names of the labels in order, and the place among them of each utterance's, ``int64``.

    Raises:
        DataError: an utterance lacks the label, or all have one.
    """
    found = [item.speaker if label == "speaker" else item.labels.get(label) for item in utterances]
    missing = sum(name is None for name in found)
    if missing:
        there = Counter(key for item in utterances for key in item.labels)
        there.update("speaker" for item in utterances if item.speaker is not None)
        known = ", ".join(f"{key} ({count})" for key, count in there.most_common()) or "none"
        raise DataError(
            f"style_units: {missing} of {len(found)} recordings have no label {label!r}, expected one each: set label "
            f"to one that they have; there are {known}"
        )
    names = sorted({name for name in found if name is not None})
    if len(names) < 2:
        raise DataError(
            f"style_units: all {len(found)} recordings have {label} {names[0]!r}, expected at least two kinds: nothing "
            "is learnt from one; give other recordings or another label"
        )
    return names, np.array([names.index(str(name)) for name in found])


def _check_enough(recordings: Recordings, num_units: int) -> None:
    if recordings.seconds < num_units:
        raise DataError(
            f"style_units got {recordings.seconds:.0f} s of recordings for {num_units} units of a second, expected at "
            "least as many: give more, or set num_units lower"
        )


def _parted(recordings: Recordings, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of the recordings to learn from, and of every n-th, held out for the report; all for both without any."""
    places, every = np.arange(len(recordings)), round(1 / share) if share else 0
    if not every or len(places) < every:
        return places, places
    return places[places % every != 0], places[places % every == 0]


def _chosen(recordings: Recordings, places: np.ndarray) -> Recordings:
    return Recordings([recordings.utterances[place] for place in places], SAMPLE_RATE, what="style_units")


@torch.inference_mode()
def _seconds(module: StyleTraining, recordings: Recordings, labels: np.ndarray, device: str) -> Seconds:
    """What the classifier makes of each second of each recording, in pieces and by the products of the encoder."""
    model = module.model.to(device).eval()
    transformer = SpeechTransformer(model.wav2vec2, device=device, normalize=True)
    rows, owners = [], []
    for owner, samples in enumerate(tqdm(recordings, desc="seconds", unit="recording")):
        pieces = [samples[start : start + CHUNK] for start in range(0, len(samples), CHUNK)]
        for hidden in transformer.hidden([piece for piece in pieces if len(piece) >= SHORTEST]):
            rows.append(means(model.projector(hidden), module.frames).cpu())
            owners += [owner] * len(rows[-1])
    joined = torch.cat(rows)
    guesses = model.cpu().classifier(joined).argmax(1).numpy()
    return Seconds(rows=joined, owners=np.array(owners), labels=labels, guesses=guesses)


def _say(figures: dict[str, Any], num_labels: int) -> None:
    log.info("held out: %s", ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "units"))
    if figures["recording_accuracy"] < 1 / num_labels + POOR_ACCURACY * (1 - 1 / num_labels):
        log.warning(
            "the units hardly tell the %d labels apart: %.0f %% of held-out recordings, where chance is %.0f %%: train "
            "longer, or on more recordings",
            num_labels,
            100 * figures["recording_accuracy"],
            100 / num_labels,
        )
