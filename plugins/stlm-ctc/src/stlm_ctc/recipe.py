"""`CtcRecipe`: recordings with transcripts to the recogniser that the judge and the aligner load.

The network learns the characters of the transcripts by connectionist temporal classification (CTC; Graves et al.,
2006), which needs no word times. Every twentieth recording is held out. Beside the weights stand the error rates on
those and, where they have word times, how late the aligner finds words.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from stlm.interfaces import Recipe
from stlm.learn.ctc_alignment import frames_needed
from stlm.learn.error_rates import error_rates
from stlm.learn.mel import LogMel
from stlm.learn.threads import one_thread
from stlm.learn.training import TrainingOptions, train_module
from stlm.types import Audio, Utterance
from stlm_ctc.aligner import measure_lateness
from stlm_ctc.augment import AugmentOptions, distort, erase
from stlm_ctc.features import band_centres, log_mel_of, normalized
from stlm_ctc.network import Network, NetworkOptions
from stlm_ctc.recogniser import BLANK, Recogniser
from stlm_ctc.transcribed import Transcribed, draw_group, transcribed

log = logging.getLogger(__name__)

BETAS = (0.9, 0.98)
LONGEST_PAUSE = 60  # mel frames between two recordings that are joined
USELESS = 70.0  # per cent of characters: above this the recogniser has learnt nothing of use


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(TrainingOptions, NetworkOptions, AugmentOptions):
    """Options of the component ``ctc``: those of the training, the network and the changes to the sound, and these.

    Args:
        sample_rate: of the sound.
        batch_seconds: of sound in one batch.
        longest: recordings above this many seconds are left out.
        weight_decay: of AdamW.
    """

    max_steps: int = 100_000
    learning_rate: float = 1e-3
    warmup_steps: int = 5000
    final_ratio: float = 0.01
    sample_rate: int = 16000
    batch_seconds: float = 600.0
    longest: float = 35.0
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for options in (TrainingOptions, NetworkOptions, AugmentOptions):
            options.__post_init__(self)


def build(config: Config) -> CtcRecipe:
    return CtcRecipe(config)


class Batch(NamedTuple):
    """What one step learns from.

    Args:
        features: ``float32[B, T, M]``.
        lengths: ``int64[B]``, frames of each.
        targets: ``int64[sum S]``, symbols of all texts.
        target_lengths: ``int64[B]``.
        seed: of the step's dropout.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    seed: int


class CtcRecipe(Recipe):
    """Trains a recogniser of characters."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()

    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        config = self.config
        options = part_of(NetworkOptions, config)
        learnt, held_out = transcribed(
            utterances, sample_rate=config.sample_rate, longest=config.longest, options=options
        )
        alphabet = learnt.alphabet
        with seeded(config.seed):
            network = Network(options, len(alphabet) + 1)
        module = CtcModule(network, config)
        source = Batches(learnt, alphabet, config)
        train_module(
            module, source.draw, out, config, label="ctc", seconds_per_batch=min(config.batch_seconds, source.total)
        )
        recogniser = Recogniser(network.half().float(), alphabet, sample_rate=config.sample_rate)
        recogniser.notes["held_out"] = measure(recogniser, held_out)
        if (lateness := measure_lateness(recogniser, held_out)) is not None:
            recogniser.notes["lateness"] = lateness
        recogniser.save(out)


class Batches:
    """Draws batches of distorted recordings."""

    def __init__(self, data: Transcribed, alphabet: str, config: Config) -> None:
        self.data, self.config = data, config
        self.seconds = data.seconds
        self.total = float(self.seconds.sum())
        self.symbols = {character: index for index, character in enumerate(alphabet, BLANK + 1)}
        self.network, self.augment = part_of(NetworkOptions, config), part_of(AugmentOptions, config)
        self.log_mel: LogMel = log_mel_of(config.num_mels, config.sample_rate)
        self.centres = band_centres(self.log_mel.options)

    @one_thread()
    def draw(self, rng: np.random.Generator) -> Batch:
        places = draw_group(self.seconds, self.config.batch_seconds, rng)
        groups = [places]
        if len(places) > 1 and rng.random() < self.config.join:
            groups = [places[: len(places) // 2], places[len(places) // 2 : len(places) // 2 * 2]]
        pairs = [self._joined([int(place) for place in joined], rng) for joined in zip(*groups, strict=True)]
        features, targets = zip(*pairs, strict=True)
        return Batch(
            features=pad_sequence(list(features), batch_first=True),
            lengths=torch.tensor([len(rows) for rows in features]),
            targets=torch.tensor([symbol for target in targets for symbol in target]),
            target_lengths=torch.tensor([len(target) for target in targets]),
            seed=int(rng.integers(1 << 31)),
        )

    def _joined(self, places: list[int], rng: np.random.Generator) -> tuple[Tensor, list[int]]:
        """One recording, or some with pauses between them, and the symbols of the text."""
        text = " ".join(self.data.texts[place] for place in places)
        target = [self.symbols[character] for character in text]
        shown: list[Tensor] = []
        for place in places:
            (log_mel,) = self.log_mel.split([self.data.recordings[place]])
            changed = distort(log_mel, self.centres, self.augment, rng)
            needed = frames_needed(self.data.texts[place])
            shown.append(changed if self.network.num_frames(len(changed)) > needed else log_mel)
            shown.append(_pause(shown[-1], int(rng.integers(LONGEST_PAUSE + 1))))
        return erase(normalized(torch.cat(shown[:-1])), self.augment, rng), target


def _pause(log_mel: Tensor, length: int) -> Tensor:
    """Frames as soft as the softest of a recording."""
    return log_mel.min(0).values.expand(length, -1)


class CtcModule(pl.LightningModule):
    """The loss of a network on batches, in nats per character."""

    def __init__(self, network: Network, config: Config) -> None:
        super().__init__()
        self.network, self.config = network, config

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        with seeded(batch.seed):
            scores, lengths = self.network(batch.features, batch.lengths)
        total = F.ctc_loss(
            scores.transpose(0, 1),
            batch.targets,
            lengths,
            batch.target_lengths,
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )
        return {"loss": total / batch.target_lengths.sum()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.parameters(), lr=self.config.learning_rate, betas=BETAS, weight_decay=self.config.weight_decay
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Start values and dropout from a seed; torch's own random numbers go on afterwards as if none had been drawn."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def measure(recogniser: Recogniser, data: Transcribed) -> dict[str, float]:
    """Error rates in per cent on recordings; a warning where they say that nothing was learnt."""
    heard = []
    for place in range(len(data)):
        audio = Audio(samples=data.recordings[place], sample_rate=recogniser.sample_rate)
        heard.append(recogniser.read(recogniser.emissions([audio])[0]))
    rates = error_rates(heard, data.texts)
    log.info("WER %.1f %%, CER %.1f %% on %d held-out recordings", rates["wer"], rates["cer"], rates["n"])
    if rates["cer"] > USELESS:
        log.warning(
            "the recogniser gets %.0f %% of the characters of held-out recordings wrong, expected far fewer: train "
            "longer (max_steps), on more recordings, and see that the transcripts are what is said",
            rates["cer"],
        )
    return rates


def part_of(kind: type, config: Any) -> Any:
    """The options of one dataclass out of a config that holds them all."""
    return kind(**{field.name: getattr(config, field.name) for field in fields(kind)})
