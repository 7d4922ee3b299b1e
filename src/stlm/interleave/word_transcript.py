"""Word-level transcription: each word in one modality and then in the other (the paper's ablation, section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.interleave.spans import WordPolicy, speech_span, text_span, words_of
from stlm.types import Document, Span, Utterance, text_boundaries


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `WordTranscript`; `text_first` is None for a coin toss per utterance."""

    text_first: bool | None = None
    layout: str = "default"


class WordTranscript(WordPolicy):
    """Every word twice, side by side: the one policy here, with `Parallel`, that shows a word in both modalities."""

    def __init__(self, text_first: bool | None = None, layout: str = "default") -> None:
        self.text_first = text_first
        self.layout = layout

    def expected_speech(self, num_words: int) -> float:
        return 0.5

    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        words, cuts = words_of(utterance, self), text_boundaries(utterance.text or "", utterance.words)
        text_first = bool(rng.integers(2)) if self.text_first is None else self.text_first
        spans: list[Span] = []
        for index in range(len(words)):
            pair = [
                text_span(utterance, cuts[index], cuts[index + 1]),
                speech_span(utterance, index, index + 1, self.layout),
            ]
            spans.extend(pair if text_first else reversed(pair))
        return tuple(spans)


def build(config: Config) -> WordTranscript:
    return WordTranscript(text_first=config.text_first, layout=config.layout)
