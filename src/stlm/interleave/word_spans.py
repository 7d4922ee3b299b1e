"""The paper's interleaving: modality changes at random word boundaries (Spirit LM, section 3.1).

Text spans have 10-30 words and speech spans 5-15 words; they alternate, starting with either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stlm.errors import ConfigError
from stlm.interleave.spans import WordPolicy, speech_span, text_span, words_of
from stlm.types import Document, Span, Utterance, text_boundaries


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of `WordSpans`; lengths are words, inclusive."""

    text_words: tuple[int, int] = (10, 30)
    speech_words: tuple[int, int] = (5, 15)
    layout: str = "default"


class WordSpans(WordPolicy):
    """Alternates stretches of words in text and in speech.

    Args:
        text_words: least and most words of a text span; the last span takes what is left.
        speech_words: the same for speech.
        layout: the format's speech layout.

    Raises:
        ConfigError: a range is empty or starts below one word.
    """

    def __init__(
        self, text_words: tuple[int, int] = (10, 30), speech_words: tuple[int, int] = (5, 15), layout: str = "default"
    ) -> None:
        for name, (least, most) in (("text_words", text_words), ("speech_words", speech_words)):
            if not 1 <= least <= most:
                raise ConfigError(f"{name} must be [least, most] with 1 <= least <= most, got [{least}, {most}]")
        self.ranges = (text_words, speech_words)
        self.layout = layout

    def expected_speech(self, num_words: int) -> float:
        """Exact: by the length of the first span, whose share is known, and what is left, which is shorter.

        A third of a long utterance with the paper's lengths; nearly half of one that is hardly longer than a span.
        """
        spoken = np.zeros((2, num_words + 1))  # of so many words, the first span being text, or speech
        for left in range(1, num_words + 1):
            for is_speech, (least, most) in enumerate(self.ranges):
                taken = np.minimum(np.arange(least, most + 1), left)
                spoken[is_speech, left] = (is_speech * taken + spoken[1 - is_speech, left - taken]).mean()
        return float(spoken[:, num_words].mean() / num_words)

    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        words, cuts = words_of(utterance, self), text_boundaries(utterance.text or "", utterance.words)
        spans: list[Span] = []
        is_speech = bool(rng.integers(2))
        first = 0
        while first < len(words):
            least, most = self.ranges[is_speech]
            last = min(len(words), first + int(rng.integers(least, most + 1)))
            if is_speech:
                spans.append(speech_span(utterance, first, last, self.layout))
            else:
                spans.append(text_span(utterance, cuts[first], cuts[last]))
            first, is_speech = last, not is_speech
        return tuple(spans)


def build(config: Config) -> WordSpans:
    return WordSpans(
        text_words=(config.text_words[0], config.text_words[1]),
        speech_words=(config.speech_words[0], config.speech_words[1]),
        layout=config.layout,
    )
