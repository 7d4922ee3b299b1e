"""Units to sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from stlm.types import AlignedUnits, Audio


class Vocoder(ABC):
    """Aligned units to audio.

    **Contract.** Deterministic. Needs the streams in ``streams``; ``durations=None`` asks it to predict durations, or
    to take one frame per unit if it cannot. No rows give audio of zero samples.

    **Implement** ``streams``, ``sample_rate``, ``synthesize`` and ``save``; override ``voices`` and ``styles`` if the
    vocoder has a choice, and ``accepts`` if it knows the encoder that its units come from.

    **For free**: `stlm decode`, `SpeechTextLM.synthesize`, contract tests.

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import ToneVocoder
    >>> from stlm.types import AlignedUnits
    >>> ToneVocoder().synthesize(AlignedUnits(streams={"energy": np.zeros((5, 1), np.uint16)})).seconds
    0.1
    """

    @property
    @abstractmethod
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that it reads."""

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Rate of the audio that it makes."""

    @abstractmethod
    def synthesize(self, units: AlignedUnits, voice: str | int | None = None, style: str | int | None = None) -> Audio:
        """Audio of the units."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write all that `load` of the same component needs into an existing, empty directory."""

    @property
    def accepts(self) -> Mapping[str, str]:
        """Fingerprints of the streams that it was made for; a stream that it does not name is taken on trust."""
        return {}

    @property
    def voices(self) -> tuple[str, ...]:
        """Names that ``voice`` accepts; empty if there is one voice."""
        return ()

    @property
    def styles(self) -> tuple[str, ...]:
        """Names that ``style`` accepts; empty if there is one style."""
        return ()
