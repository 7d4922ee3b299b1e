"""`WhisperJudge`: Whisper (Radford et al., 2022) through transformers, greedy by default.

Features are those of 30 s whatever the sound, so batching changes nothing. Longer sounds are cut at pauses. Spirit LM's
speech generation is judged with Whisper medium.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from stlm.errors import ConfigError
from stlm.interfaces import Judge
from stlm.learn.published import load_published
from stlm.types import Audio
from stlm_judges.pieces import transcribe_pieces

LONGEST = 30.0
ENGLISH = ("", "en", "english")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``whisper``.

    Args:
        model: name on the Hugging Face hub, or a directory; medium is the paper's.
        language: that is spoken, as a code or an English name; empty: Whisper finds out for each piece of 30 s.
        beams: of beam search; 1 is greedy.
        batch_size: pieces of 30 s at once.
        dtype: "float32", or "float16" or "bfloat16" on a GPU.
        device: "cpu" or "cuda".
    """

    model: str = "openai/whisper-medium"
    language: str = "en"
    beams: int = 1
    batch_size: int = 8
    dtype: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.beams < 1 or self.batch_size < 1:
            raise ConfigError(f"beams and batch_size must be at least 1, got {self.beams} and {self.batch_size}")
        if self.dtype not in ("float32", "float16", "bfloat16"):
            raise ConfigError(f"dtype must be float32, float16 or bfloat16, got {self.dtype!r}")


def build(config: Config) -> WhisperJudge:
    return WhisperJudge(config)


class WhisperJudge(Judge):
    """What Whisper hears."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.processor = load_published(WhisperProcessor, config.model)
        dtype = getattr(torch, config.dtype)
        model = load_published(WhisperForConditionalGeneration, config.model, dtype=dtype, use_safetensors=True)
        self.model = model.to(config.device).eval()
        self._choices = self._choose_language()

    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        rate = self.processor.feature_extractor.sampling_rate
        return transcribe_pieces(batch, self._read, sample_rate=rate, longest=LONGEST)

    @torch.inference_mode()
    def _read(self, pieces: Sequence[np.ndarray]) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(pieces), self.config.batch_size):
            group = list(pieces[start : start + self.config.batch_size])
            rate = self.processor.feature_extractor.sampling_rate
            given = self.processor.feature_extractor(group, sampling_rate=rate, return_tensors="pt")
            features = given.input_features.to(self.config.device, self.model.dtype)
            ids = self.model.generate(features, num_beams=self.config.beams, do_sample=False, **self._choices)
            texts.extend(self.processor.batch_decode(ids, skip_special_tokens=True))
        return texts

    def _choose_language(self) -> dict[str, Any]:
        """What ``generate`` is told; models for English alone are told nothing.

        Raises:
            ConfigError: the model does not know the language.
        """
        language, generation = self.config.language.lower(), self.model.generation_config
        if not getattr(generation, "is_multilingual", False):
            if language not in ENGLISH:
                raise ConfigError(
                    f"{self.config.model} knows English alone, got language {language!r}: set language=en"
                )
            return {}
        from transformers.models.whisper.tokenization_whisper import LANGUAGES, TO_LANGUAGE_CODE

        known = {**TO_LANGUAGE_CODE, **{code: code for code in LANGUAGES}}
        if language and f"<|{known.get(language)}|>" not in generation.lang_to_id:
            raise ConfigError(
                f"{self.config.model} does not know the language {language!r}: give a code such as 'en', or leave it "
                "empty to have it found"
            )
        return {"task": "transcribe", **({"language": language} if language else {})}
