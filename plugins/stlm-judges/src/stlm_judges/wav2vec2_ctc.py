"""`Wav2Vec2Judge`: wav2vec 2.0 with a CTC head (Baevski et al., 2020) through transformers, greedy decoding.

With ``language`` it loads that language's adapter and letters of an MMS model (Pratap et al., 2023). Only pieces of one
length share a batch: models with group norms give other results for padded ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import Wav2Vec2ForCTC

from stlm.errors import ConfigError
from stlm.interfaces import Judge
from stlm.learn.published import load_ctc
from stlm.types import Audio
from stlm_judges.pieces import transcribe_pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``wav2vec2_ctc``.

    Args:
        model: name on the Hugging Face hub, or a directory; empty: wav2vec 2.0 large for English, or with `language`
            MMS 1b-all.
        language: ISO 639-3 code of an adapter of an MMS model ("deu"); empty for models of one language.
        longest: piece read at once, in seconds; attention costs its square.
        batch_size: pieces of one length at once.
        device: "cpu" or "cuda".
    """

    model: str = ""
    language: str = ""
    longest: float = 20.0
    batch_size: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not self.longest >= 1:
            raise ConfigError(
                f"batch_size and longest must be at least 1, got {self.batch_size} and {self.longest:g} s"
            )


def build(config: Config) -> Wav2Vec2Judge:
    return Wav2Vec2Judge(config)


class Wav2Vec2Judge(Judge):
    """What a wav2vec 2.0 recogniser hears."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.tokenizer, self.extractor, model = load_ctc(Wav2Vec2ForCTC, config.model, config.language)
        self.model = model.to(config.device)

    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        rate = self.extractor.sampling_rate
        return transcribe_pieces(batch, self._read, sample_rate=rate, longest=self.config.longest)

    @torch.inference_mode()
    def _read(self, pieces: Sequence[np.ndarray]) -> list[str]:
        texts = [""] * len(pieces)
        places = [place for place, piece in enumerate(pieces) if self._num_frames(len(piece)) > 0]
        places.sort(key=lambda place: len(pieces[place]))
        while places:
            length = len(pieces[places[0]])
            same = [place for place in places[: self.config.batch_size] if len(pieces[place]) == length]
            places = places[len(same) :]
            given = self.extractor(
                [pieces[place] for place in same], sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
            )
            symbols = self.model(given.input_values.to(self.config.device)).logits.argmax(-1)
            for place, text in zip(same, self.tokenizer.batch_decode(symbols), strict=True):
                texts[place] = text
        return texts

    def _num_frames(self, num_samples: int) -> int:
        """Frames that the convolutions make of so many samples; less than one where they are too few."""
        for kernel, stride in zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True):
            num_samples = (num_samples - kernel) // stride + 1
        return num_samples
