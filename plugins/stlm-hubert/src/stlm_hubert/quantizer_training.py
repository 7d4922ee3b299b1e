"""What the quantizer learns from, and how: distorted recordings, and the units of the clean ones in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from stlm.learn.augment import AUGMENTATIONS
from stlm.learn.sounds import Recordings
from stlm.learn.speech_transformer import SpeechTransformer
from stlm.learn.unit_quality import without_repeats
from stlm_hubert.quantizer import SLOPE, QuantizerSizes

Batch = list[tuple[torch.Tensor, torch.Tensor]]


class DistortedPieces:
    """Draws pieces of recordings, each distorted in one way, with the deduplicated units of the clean piece.

    Args:
        recordings: at 16 kHz.
        codes: ``int[T]`` for each, one every `hop` samples.
        hop: samples between two units.
        window: samples that the model needs for a frame.
        size: pieces in a batch.
        num_frames: of the longest piece.
        augmentations: names in `AUGMENTATIONS`.
    """

    def __init__(
        self,
        recordings: Recordings,
        codes: Sequence[np.ndarray],
        *,
        hop: int,
        window: int,
        size: int,
        num_frames: int,
        augmentations: Sequence[str],
    ) -> None:
        self.recordings, self.codes, self.hop, self.window = recordings, codes, hop, window
        self.size, self.num_frames, self.augmentations = size, num_frames, augmentations
        self.usable = [index for index, found in enumerate(codes) if len(found)]

    def draw(self, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self._piece(rng) for _ in range(self.size)]

    def _piece(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        index = self.usable[int(rng.integers(len(self.usable)))]
        codes, wave = self.codes[index], self.recordings[index]
        count = min(len(codes), self.num_frames)
        first = int(rng.integers(len(codes) - count + 1))
        piece = wave[first * self.hop : (first + count - 1) * self.hop + self.window]
        chosen = self.augmentations[int(rng.integers(len(self.augmentations)))]
        piece = AUGMENTATIONS[chosen](piece, rng).astype(np.float32)
        piece = np.pad(piece, (0, max(0, self.window - len(piece))))
        return piece, without_repeats(codes[first : first + count]).astype(np.int64)


class QuantizerTraining(pl.LightningModule):
    """CTC of a quantizer on frames of a model that stays as it is.

    Args:
        layers: of the quantizer, in training.
        transformer: waves to its input.
        learning_rate: of Adam.
    """

    def __init__(self, layers: nn.Sequential, transformer: SpeechTransformer, *, learning_rate: float) -> None:
        super().__init__()
        self.layers, self.transformer, self.learning_rate = layers, transformer, learning_rate

    def training_step(self, batch: Batch, index: int) -> Mapping[str, torch.Tensor]:
        with torch.autocast(self.device.type, enabled=False):  # the transformer has packed weights of its own precision
            hidden = self.transformer.hidden([wave.cpu().numpy() for wave, _ in batch])
            rows = [frames.clone() for frames in hidden]  # what inference made takes no part in gradients
            scores = self.layers(torch.cat(rows)).log_softmax(1)
        lengths = torch.tensor([len(frames) for frames in rows])
        loss = F.ctc_loss(
            pad_sequence(list(scores.split(lengths.tolist()))),
            torch.cat([targets for _, targets in batch]),
            lengths,
            torch.tensor([len(targets) for _, targets in batch]),
            blank=scores.shape[1] - 1,
            zero_infinity=True,  # a piece made so short that its units do not fit
        )
        return {"loss": loss, "blank_share": (scores.argmax(1) == scores.shape[1] - 1).float().mean()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.layers.parameters(), lr=self.learning_rate)


def fresh_quantizer(sizes: QuantizerSizes, seed: int) -> nn.Sequential:
    """Three linear layers at a random start, as `stlm_hubert.quantizer.make_quantizer` fills them."""
    first, second, third, last = sizes.widths
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(first, second),
            nn.LeakyReLU(SLOPE),
            nn.Linear(second, third),
            nn.LeakyReLU(SLOPE),
            nn.Linear(third, last),
        )
