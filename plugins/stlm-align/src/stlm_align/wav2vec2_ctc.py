"""`Wav2Vec2Aligner`: word times by any CTC model of transformers that hears samples (wav2vec 2.0, HuBERT, WavLM, MMS).

With ``language`` it loads that language's adapter and letters of an MMS model (Pratap et al., 2023). The symbols of a
text are the model's own characters, in the case that it knows; others are passed over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import AutoModelForCTC

from stlm.errors import ConfigError
from stlm.interfaces import Aligner
from stlm.learn.ctc_alignment import align_by_ctc, spelled, symbols_in
from stlm.learn.published import load_ctc
from stlm.types import Audio, Word
from stlm_align.recording import samples_at
from stlm_align.windows import Windows, check_windows, reach_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``wav2vec2_ctc``.

    Args:
        model: name on the Hugging Face hub, or a directory; empty: wav2vec 2.0 large for English, or with `language`
            MMS 1b-all.
        language: ISO 639-3 code of an adapter of an MMS model ("deu"); empty for models of one language.
        window: seconds heard at once; attention costs its square.
        overlap: seconds that two windows share.
        device: "cpu" or "cuda".
    """

    model: str = ""
    language: str = ""
    window: float = 30.0
    overlap: float = 4.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_windows(self.window, self.overlap)


def build(config: Config) -> Wav2Vec2Aligner:
    return Wav2Vec2Aligner(config)


class Wav2Vec2Aligner(Aligner):
    """Word times from a CTC model of transformers."""

    def __init__(self, config: Config) -> None:
        tokenizer, self.extractor, model = load_ctc(
            AutoModelForCTC, config.model, config.language, use_safetensors=True
        )
        self.model = model.to(config.device)
        strides = getattr(self.model.config, "conv_stride", None)
        if not strides:
            raise ConfigError(
                f"{model.name_or_path}: a {type(model).__name__} has no convolutions over samples, expected one such "
                "as Wav2Vec2ForCTC, HubertForCTC or WavLMForCTC"
            )
        self.windows = Windows(
            sample_rate=self.extractor.sampling_rate,
            hop=math.prod(strides),
            reach=reach_of(self.model.config.conv_kernel, strides),
            window=config.window,
            overlap=config.overlap,
        )
        vocabulary = tokenizer.get_vocab()
        self.blank = int(tokenizer.pad_token_id)
        self.space = vocabulary.get(tokenizer.word_delimiter_token)
        reserved = {*tokenizer.all_special_ids, self.blank, self.space}
        self.symbols = {token: index for token, index in vocabulary.items() if index not in reserved}

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        words = spelled(text, lambda word: symbols_in(word, self.symbols), self.symbols)
        samples = samples_at(audio, self.windows.sample_rate)
        given = self.extractor(samples, sampling_rate=self.windows.sample_rate, return_tensors="np").input_values[0]
        return align_by_ctc(
            self.windows.emissions(given, self._forward),
            words,
            audio,
            text,
            seconds_per_frame=self.windows.hop / self.windows.sample_rate,
            blank=self.blank,
            space=self.space,
        )

    @torch.inference_mode()
    def _forward(self, samples: torch.Tensor) -> torch.Tensor:
        return self.model(samples[None].to(self.model.device)).logits[0].float().log_softmax(-1)
