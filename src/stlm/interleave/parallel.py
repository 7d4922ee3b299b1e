"""Parallel speech and text with a task marker: ASR, TTS or either (the paper's +ASR+TTS; VoxtLM)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.errors import ConfigError, DataError
from stlm.interfaces.interleaver import SPEECH_FIELDS, TEXT_FIELDS, Interleaver
from stlm.interleave.spans import whole_speech, whole_text
from stlm.types import Document, Marker, SpeechSpan, TextSpan, Utterance

TASKS = {"asr": "[ASR]", "tts": "[TTS]"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `Parallel`; task is "asr", "tts" or "both" (a coin toss per utterance)."""

    task: str = "both"
    prompt_loss: bool = False
    layout: str = "default"


class Parallel(Interleaver):
    """``[ASR]`` speech, text, or ``[TTS]`` text, speech.

    Args:
        task: "asr", "tts" or "both".
        prompt_loss: whether predicting the given half counts as well.
        layout: the format's speech layout.
    """

    def __init__(self, task: str = "both", prompt_loss: bool = False, layout: str = "default") -> None:
        if task not in (*TASKS, "both"):
            raise ConfigError(f"task must be 'asr', 'tts' or 'both', got {task!r}")
        self.task = task
        self.prompt_loss = prompt_loss
        self.layout = layout

    @property
    def reads(self) -> frozenset[str]:
        return SPEECH_FIELDS | TEXT_FIELDS

    @property
    def is_random(self) -> bool:
        return self.task == "both"

    def expected_speech(self, num_words: int) -> float:
        return 0.5

    def accepts(self, utterance: Utterance) -> bool:
        return utterance.has_speech and bool(utterance.text)

    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        if not self.accepts(utterance):
            raise DataError(f"{utterance.id}: Parallel needs text and units, got {sorted(utterance.streams)}")
        task = self.task if self.task != "both" else ("asr", "tts")[int(rng.integers(2))]
        given = self.prompt_loss
        marker = Marker(name=TASKS[task], loss=given)
        if task == "asr":
            speech = SpeechSpan(streams=utterance.streams, layout=self.layout, loss=given)
            return (marker, speech, whole_text(utterance))
        text = whole_text(utterance)
        return (marker, TextSpan(text=text.text, units=text.units, loss=given), whole_speech(utterance, self.layout))


def build(config: Config) -> Parallel:
    return Parallel(task=config.task, prompt_loss=config.prompt_loss, layout=config.layout)
