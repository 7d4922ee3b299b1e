"""What listens to audio from outside the model: aligners, recognisers, classifiers, pitch trackers, normalisers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from stlm.types import Audio, Word


class Aligner(ABC):
    """Word times of a known text.

    **Contract.** Words come back in the order of the text, with character offsets into it, without overlap and within
    the audio. Text that cannot be aligned raises DataError.

    **Implement** ``align``. **For free**: contract tests (`stlm.testing.contracts.AlignerContract`).

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import EvenAligner
    >>> from stlm.types import Audio
    >>> silence = Audio(samples=np.zeros(900, np.float32), sample_rate=16000)
    >>> [(word.text, word.start, word.end) for word in EvenAligner().align(silence, "One, two!")]
    [('One', 0, 450), ('two', 450, 900)]
    """

    @abstractmethod
    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        """Words of `text` with their samples in `audio`."""


class Judge(ABC):
    """A recogniser that reports what generated speech says.

    **Contract.** One text per audio, in order; silence gives an empty text.

    **Implement** ``transcribe``. **For free**: contract tests (`stlm.testing.contracts.JudgeContract`).

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import EnergyJudge
    >>> from stlm.types import Audio
    >>> EnergyJudge().transcribe([Audio(samples=np.zeros(900, np.float32), sample_rate=16000)])
    ['']
    """

    @abstractmethod
    def transcribe(self, batch: Sequence[Audio]) -> list[str]:
        """What each audio says."""


class Classifier(ABC):
    """Says which of its labels a recording has: an emotion, a style, a language.

    **Contract.** One of ``labels`` per audio, in order, whatever else is in the batch.

    **Implement** ``labels`` and ``classify``. **For free**: contract tests
    (`stlm.testing.contracts.ClassifierContract`).

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import LoudnessClassifier
    >>> from stlm.types import Audio
    >>> LoudnessClassifier().classify([Audio(samples=np.zeros(900, np.float32), sample_rate=16000)])
    ['quiet']
    """

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """What it can say."""

    @abstractmethod
    def classify(self, batch: Sequence[Audio]) -> list[str]:
        """The label of each audio."""


class F0Extractor(ABC):
    """Fundamental frequency.

    **Contract.** Two arrays ``float32[T]`` and ``bool[T]``: F0 in Hz (0 where unvoiced) and voicing, one frame each
    ``hop`` samples. A fully unvoiced file gives zeros, not an error.

    **Implement** ``hop`` and ``extract``. **For free**: contract tests (`stlm.testing.contracts.F0ExtractorContract`).

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import AutocorrelationF0
    >>> from stlm.types import Audio
    >>> f0, voiced = AutocorrelationF0().extract(Audio(samples=np.zeros(1600, np.float32), sample_rate=16000))
    >>> len(f0), bool(voiced.any())
    (10, False)
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

    **Contract.** Idempotent: ``normalize(normalize(x)) == normalize(x)``.

    **Implement** ``normalize``. **For free**: contract tests (`stlm.testing.contracts.TextNormalizerContract`).

    **Example**

    >>> from stlm.testing.fakes import LowercaseNormalizer
    >>> LowercaseNormalizer().normalize("It is  LATE")
    'it is late'
    """

    @abstractmethod
    def normalize(self, text: str) -> str:
        """The normal form."""
