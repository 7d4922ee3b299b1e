"""Policies: which part of an utterance appears in which modality."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields

import numpy as np

from stlm.types import Document, Utterance

ALL_FIELDS = frozenset(entry.name for entry in fields(Utterance))
SPEECH_FIELDS = frozenset({"streams"})
TEXT_FIELDS = frozenset({"text", "text_units"})
WORD_FIELDS = SPEECH_FIELDS | TEXT_FIELDS | {"audio", "words"}


class Interleaver(ABC):
    """Utterance to Document.

    **Contract.** A pure function of the utterance and the generator: equal states give equal documents. Nothing is lost
    or doubled: each word appears once, in text or in speech (policies that show both say so), and every frame of a
    shown word appears in it. Choosing ids is the codec's task.

    **Implement** ``interleave``; override ``accepts`` if some utterances cannot be used, ``reads`` if the policy looks
    at some fields only (the feed then leaves the others unread), ``is_random`` if it never draws, and
    ``expected_speech`` if it can be told.

    **For free**: resampling at every epoch, mixture, packing, resume, contract tests.

    **Example**

    >>> import numpy as np
    >>> from stlm.interleave import Unimodal
    >>> from stlm.types import Utterance
    >>> Unimodal(modality="text").interleave(Utterance(id="a", text="hello"), np.random.default_rng(0))[0].text
    'hello'
    """

    @property
    def reads(self) -> frozenset[str]:
        """Fields of the utterance that this policy looks at."""
        return ALL_FIELDS

    @property
    def is_random(self) -> bool:
        """Whether ``interleave`` draws from its generator."""
        return True

    @abstractmethod
    def interleave(self, utterance: Utterance, rng: np.random.Generator) -> Document:
        """One random document of the utterance."""

    def expected_speech(self, num_words: int) -> float | None:
        """Of the words shown of an utterance of so many, the share in speech, on average; None if it cannot be told."""
        return None

    def accepts(self, utterance: Utterance) -> bool:
        """Whether the utterance has what this policy needs (words, streams, text)."""
        return True
