"""`HubertQuantizerRecipe`: k-means units to a quantizer that says the same under noise, echo, other pitch and tempo.

Gat et al., "Augmentation invariant discrete representation for generative spoken language modeling" (2023): a small
feed-forward network over the frozen model's frames learns by CTC, from distorted sound, the deduplicated units of the
clean one. With `rounds`, each network gives the units that a fresh one learns from (section 3.2). The model is cut to
the layer that is quantized, and written in both layouts that ``hubert_25hz`` loads.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stlm.errors import ConfigError, DataError, did_you_mean
from stlm.interfaces import Recipe
from stlm.learn.augment import AUGMENTATIONS
from stlm.learn.kmeans import assign
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.training import CHECKPOINT, TrainingOptions, train_module
from stlm.learn.unit_quality import edit_distance, without_repeats
from stlm.types import Utterance
from stlm_hubert import encoder_25hz
from stlm_hubert.encoder import SavedUnits, read_saved_units
from stlm_hubert.frames import frames_of
from stlm_hubert.model_25hz import SAMPLE_RATE
from stlm_hubert.official import read_official
from stlm_hubert.official_export import check_exportable, write_official
from stlm_hubert.quantizer import QuantizerSizes, fill_blanks
from stlm_hubert.quantizer_training import DistortedPieces, QuantizerTraining, fresh_quantizer
from stlm_hubert.rows import frames_in

REPORT = "report.json"
OFFICIAL = "official"

Codes = Callable[[torch.Tensor], np.ndarray]
"""Frames ``float32[T, D]`` to units ``int[T]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions):
    """Options of the component ``hubert_quantizer``: those of all trainings, and these.

    Args:
        path: directory that ``recipe=hubert_kmeans`` wrote: model, layer and units to begin with.
        rounds: of training; from the second on, the units are those of the round before.
        augmentations: ways of distorting a sound.
        batch_size: recordings in a batch.
        crop_seconds: longest piece of one.
        held_out: recordings that only measure, at most a tenth of all.
    """

    path: str = ""
    rounds: int = 1
    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    batch_size: int = 32
    crop_seconds: float = 15.0
    held_out: int = 100
    max_steps: int = 50_000
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    num_workers: int = 8
    checkpoint_every: int = 5000
    report_every: int = 100

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        if self.rounds < 1 or self.batch_size < 1 or not self.crop_seconds > 0 or self.held_out < 1:
            raise ConfigError(
                f"rounds, batch_size, crop_seconds and held_out must be above 0, got {self.rounds}, {self.batch_size}, "
                f"{self.crop_seconds:g} and {self.held_out}"
            )
        unknown = [name for name in self.augmentations if name not in AUGMENTATIONS]
        if unknown or not self.augmentations:
            raise ConfigError(
                f"augmentations are {list(self.augmentations)}, expected some of {', '.join(AUGMENTATIONS)}"
                f"{did_you_mean(unknown[0], AUGMENTATIONS) if unknown else ''}"
            )


def build(config: Config) -> HubertQuantizerRecipe:
    if not config.path:
        raise ConfigError("hubert_quantizer needs units: set path to what recipe=hubert_kmeans wrote, got ''")
    return HubertQuantizerRecipe(config)


class HubertQuantizerRecipe(Recipe):
    """Leaves what ``unit_encoder=hubert_25hz path=OUT`` loads, the official files in ``official/``, ``report.json``."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        units = read_saved_units(Path(self.config.path))
        check_exportable(units.model, units.layer, normalize=units.normalize)
        place = "cuda" if torch.cuda.is_available() and self.config.accelerator != "cpu" else "cpu"
        transformer = SpeechTransformer(units.model, layer=units.layer, device=place)
        training, testing = self._recordings(utterances, transformer)
        centroids = units.centroids.to(place)

        def nearest(rows: torch.Tensor) -> np.ndarray:
            return assign(rows, centroids).cpu().numpy()

        codes_of: Codes = nearest
        sizes = quantizer_sizes(units)
        layers = nn.Sequential()
        for index in range(self.config.rounds):
            layers = self._round(index, codes_of, sizes, transformer, training, out)
            codes_of = self._codes_of(layers, sizes.vocab_size, transformer)
        rows = self._distances(testing, transformer, {"kmeans": nearest, "quantizer": codes_of})
        self._save(units, sizes, layers.cpu(), out)
        report = {"unit edit distance, %": rows, "held-out recordings": len(testing)}
        (out / REPORT).write_text(json.dumps(report, indent=2) + "\n")

    def _recordings(
        self, utterances: Iterable[Utterance], transformer: SpeechTransformer
    ) -> tuple[Recordings, list[np.ndarray]]:
        """Those to train on, and the sounds of those held out."""
        shortest = 2 * transformer.window / SAMPLE_RATE
        found = Recordings(utterances, SAMPLE_RATE, shortest=shortest, what="hubert_quantizer")
        count = min(self.config.held_out, len(found) // 10)
        if not count:
            raise DataError(f"hubert_quantizer got {len(found)} recordings, expected at least 10: give more audio")
        warn_of_one_speaker(found.utterances, "hubert_quantizer")
        held = set(np.linspace(0, len(found) - 1, count).round().astype(int).tolist())
        kept = [utterance for index, utterance in enumerate(found.utterances) if index not in held]
        return Recordings(kept, SAMPLE_RATE, what="hubert_quantizer"), [found[index] for index in sorted(held)]

    def _round(
        self,
        index: int,
        codes_of: Codes,
        sizes: QuantizerSizes,
        transformer: SpeechTransformer,
        recordings: Recordings,
        out: Path,
    ) -> nn.Sequential:
        config = self.config
        codes = [codes_of(rows) for batch in frames_of(recordings, transformer.hidden) for rows in batch]
        pieces = DistortedPieces(
            recordings,
            codes,
            hop=transformer.hop,
            window=transformer.window,
            size=config.batch_size,
            num_frames=frames_in(config.crop_seconds, transformer.hop),
            augmentations=config.augmentations,
        )
        layers = fresh_quantizer(sizes, config.seed + index)
        training = QuantizerTraining(layers, transformer, learning_rate=config.learning_rate)
        directory = out if index == config.rounds - 1 else out / f"round-{index}"
        train_module(training, pieces.draw, directory, config, label="hubert_quantizer")
        return layers.eval()

    def _codes_of(self, layers: nn.Sequential, blank: int, transformer: SpeechTransformer) -> Codes:
        def codes(rows: torch.Tensor) -> np.ndarray:
            with torch.inference_mode():
                return fill_blanks(layers.to(rows.device)(rows).argmax(1).cpu().numpy(), blank)

        return codes

    def _distances(
        self, waves: Sequence[np.ndarray], transformer: SpeechTransformer, kinds: dict[str, Codes]
    ) -> dict[str, dict[str, float]]:
        """Edits per 100 deduplicated units of the clean sound, for each distortion and each kind of unit."""
        clean = transformer.hidden(waves)
        result: dict[str, dict[str, float]] = {}
        for number, name in enumerate(self.config.augmentations):
            changed = [
                AUGMENTATIONS[name](wave, np.random.default_rng([self.config.seed, number, index]))
                for index, wave in enumerate(waves)
            ]
            distorted = transformer.hidden(changed)
            result[name] = {kind: unit_edit_rate(clean, distorted, codes_of) for kind, codes_of in kinds.items()}
        return result

    def _save(self, units: SavedUnits, sizes: QuantizerSizes, layers: nn.Sequential, out: Path) -> None:
        for index in range(self.config.rounds - 1):
            shutil.rmtree(out / f"round-{index}" / CHECKPOINT.parent, ignore_errors=True)
        defaults = encoder_25hz.Config()
        files = (out / OFFICIAL / defaults.model_file, out / OFFICIAL / defaults.quantizer_file)
        files[0].parent.mkdir(exist_ok=True)
        write_official(units.model, units.layer, sizes, layers.state_dict(), files)
        read_official(*files).save(out, units.stream, units.chunk)


def quantizer_sizes(units: SavedUnits) -> QuantizerSizes:
    """Those that the official quantizer has at its width: each layer narrower by as much."""
    num_units, width = units.centroids.shape
    return QuantizerSizes(vocab_size=num_units, dim=width, upstream_dim=width)


def unit_edit_rate(clean: Sequence[torch.Tensor], distorted: Sequence[torch.Tensor], codes_of: Codes) -> float:
    """Edits per 100 units of the clean sounds, repeats removed (Gat et al. 2023, section 3.1)."""
    expected, found = ([without_repeats(codes_of(rows)) for rows in sounds] for sounds in (clean, distorted))
    edits = sum(edit_distance(a, b) for a, b in zip(expected, found, strict=True))
    return 100 * edits / max(1, sum(map(len, expected)))
