"""What listens to audio from outside the model: aligners, recognisers, pitch trackers, text normalisers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from stlm.types import Audio, Word


class Aligner(ABC):
    """Word times of a known text.

    **Contract.** Words come back in the order of the text, with character offsets into it, without overlap and within
    the audio. Text that cannot be aligned raises DataError. **Implement** ``align``.
    """

    @abstractmethod
    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        """Words of `text` with their samples in `audio`."""


class Judge(ABC):
    """A recogniser that reports what generated speech says.

    **Contract.** One text per audio, in order; silence gives an empty text. **Implement** ``transcribe``.
    """

    @abstractmethod
    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        """What each audio says."""


class F0Extractor(ABC):
    """Fundamental frequency.

    **Contract.** Two arrays ``float32[T]`` and ``bool[T]``: F0 in Hz (0 where unvoiced) and voicing, one frame each
    ``hop`` samples. A fully unvoiced file gives zeros, not an error. **Implement** ``hop`` and ``extract``.
    """

    @property
    @abstractmethod
    def hop(self) -> int:
        """Samples between two frames."""

    @abstractmethod
    def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
        """F0 in Hz and voicing."""


class TextNormalizer(ABC):
    """Text as a metric compares it.

    **Contract.** Idempotent: ``normalize(normalize(x)) == normalize(x)``. **Implement** ``normalize``.
    """

    @abstractmethod
    def normalize(self, text: str) -> str:
        """The normal form."""
