"""`StyleTraining`: clips and their labels to a wav2vec2 classifier, by cross-entropy on the mean of each second."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from transformers import Wav2Vec2ForSequenceClassification

from stlm.learn.augment import add_noise, change_speed, shift_pitch
from stlm.learn.sounds import Recordings
from stlm_style.pooling import SAMPLE_RATE, frames_per_second, means

Batch = tuple[torch.Tensor, torch.Tensor]
OCTAVES = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)  # Hz
EPS = 1e-7  # of Hugging Face's feature extractor, and of the encoder


class StyleTraining(pl.LightningModule):
    """A classifier in training.

    Args:
        model: its dropout, layer drop and masks are off, so that a step depends on its batch alone.
        hop: samples between two of its frames.
        learning_rate: at its highest.
        weight_decay: of AdamW.
    """

    def __init__(
        self, model: Wav2Vec2ForSequenceClassification, *, hop: int, learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__()
        self.model = model
        self.frames = frames_per_second(hop)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay

    def training_step(self, batch: Batch, index: int) -> dict[str, torch.Tensor]:
        """Losses of waves ``float32[B, N]`` and the labels ``int64[B]`` of each."""
        waves, labels = batch
        rows = self.model.projector(self.model.wav2vec2(waves).last_hidden_state)
        scores = self.model.classifier(means(rows, self.frames))  # [B, S, L]
        wanted = labels[:, None].expand(scores.shape[:2])
        loss = F.cross_entropy(scores.flatten(0, 1).float(), wanted.flatten())
        return {"loss": loss, "accuracy": (scores.argmax(-1) == wanted).float().mean().detach()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(learnt, lr=self.learning_rate, weight_decay=self.weight_decay)


class Clips:
    """Draws clips of one length, every label as often as any other; each at its own speed, in its own noise.

    Args:
        recordings: at 16 kHz.
        labels: ``int64``, one each.
        seconds: lengths of clips, of which a batch has one.
        batch_seconds: of audio in a batch, whatever the length of its clips.
        speed: largest change of speed; 0.1 is 0.9 to 1.1 times.
        semitones: largest change of pitch and formants at the same speed, of every other clip: another speaker.
        colour_db: deviation of the gain from octave to octave: another microphone, another voice.
        snr_db: loudest noise; that of every other clip lies between this and 40 dB below, which nobody hears.
    """

    def __init__(
        self,
        recordings: Recordings,
        labels: np.ndarray,
        *,
        seconds: Sequence[float],
        batch_seconds: float,
        speed: float,
        semitones: float,
        colour_db: float,
        snr_db: float,
    ) -> None:
        self.recordings, self.labels = recordings, labels
        self.places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self.seconds, self.batch_seconds = tuple(seconds), batch_seconds
        self.speed, self.semitones, self.colour_db, self.snr_db = speed, semitones, colour_db, snr_db

    def __call__(self, rng: np.random.Generator) -> Batch:
        seconds = self.seconds[rng.integers(len(self.seconds))]
        chosen = [self._place(rng) for _ in range(max(1, round(self.batch_seconds / seconds)))]
        waves = np.stack([self._clip(place, round(seconds * SAMPLE_RATE), rng) for place in chosen])
        return torch.from_numpy(waves), torch.from_numpy(self.labels[chosen])

    def _place(self, rng: np.random.Generator) -> int:
        of_label = self.places[rng.integers(len(self.places))]
        return int(of_label[rng.integers(len(of_label))])

    def _clip(self, place: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """``float32[length]`` of mean 0 and variance 1; what is shorter is repeated."""
        factor = 1 + rng.uniform(-self.speed, self.speed)
        samples = self.recordings[place]
        needed = int(length * factor) + 2
        start = int(rng.integers(max(1, len(samples) - needed + 1)))
        piece = change_speed(samples[start : start + needed], factor)
        piece = np.tile(piece, -(-length // max(1, len(piece))))[:length]
        if self.semitones and rng.random() < 0.5:
            piece = shift_pitch(piece, rng.uniform(-self.semitones, self.semitones))
        piece = coloured(piece, rng, self.colour_db)
        if piece.any() and rng.random() < 0.5:
            piece = add_noise(piece, rng, rng.uniform(self.snr_db, self.snr_db + 40))
        return normalised(piece)


def coloured(samples: np.ndarray, rng: np.random.Generator, deviation_db: float) -> np.ndarray:
    """``float32[N]`` through a filter whose gain at each octave is drawn, and lies on lines between them."""
    spectrum = np.fft.rfft(samples)
    gains = np.interp(_octaves(len(spectrum)), np.log2(OCTAVES), rng.normal(0, deviation_db, len(OCTAVES)))
    return np.fft.irfft(spectrum * 10 ** (gains / 20), len(samples)).astype(np.float32)


@lru_cache(maxsize=16)
def _octaves(bins: int) -> np.ndarray:
    """Logarithms of the frequencies of a spectrum, from the lowest octave on."""
    return np.log2(np.maximum(np.linspace(0, SAMPLE_RATE / 2, bins), OCTAVES[0]))


def normalised(samples: np.ndarray) -> np.ndarray:
    """``float32[N]`` of mean 0 and variance 1, as the encoder hears it."""
    mean, variance = samples.mean(dtype=np.float64), samples.var(dtype=np.float64)
    return ((samples - mean) / np.sqrt(variance + EPS)).astype(np.float32)
