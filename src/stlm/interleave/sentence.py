"""Modality changes at sentence ends: each sentence in text or in speech by the toss of a coin."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stlm.interleave.spans import WordPolicy, speech_span, text_span, words_of
from stlm.types import Document, Span, Utterance, text_boundaries

SENTENCE_ENDS = ".!?"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `Sentence`: how likely a sentence is spoken, and the marks that end a sentence."""

    speech_share: float = 0.5
    ends: str = SENTENCE_ENDS
    layout: str = "default"


class Sentence(WordPolicy):
    """Whole sentences in one modality each; neighbouring sentences of one modality join."""

    def __init__(self, speech_share: float = 0.5, ends: str = SENTENCE_ENDS, layout: str = "default") -> None:
        self.speech_share = speech_share
        self.ends = ends
        self.layout = layout

    def expected_speech(self, num_words: int) -> float:
        return self.speech_share

    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        words, text = words_of(utterance, self), utterance.text or ""
        cuts = text_boundaries(text, words)
        ends = [
            i + 1 for i in range(len(words)) if any(mark in self.ends for mark in text[words[i].char_end : cuts[i + 1]])
        ]
        bounds = [0, *(end for end in ends if end < len(words)), len(words)]
        spoken = rng.random(len(bounds) - 1) < self.speech_share
        spans: list[Span] = []
        start = 0
        for index, (_, end) in enumerate(pairwise(bounds)):
            if index + 1 < len(spoken) and spoken[index + 1] == spoken[index]:
                continue
            if spoken[index]:
                spans.append(speech_span(utterance, start, end, self.layout))
            else:
                spans.append(text_span(utterance, cuts[start], cuts[end]))
            start = end
        return tuple(spans)


def build(config: Config) -> Sentence:
    return Sentence(speech_share=config.speech_share, ends=config.ends, layout=config.layout)
