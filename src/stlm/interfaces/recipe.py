"""Training of parts: tokenizers, quantizers, vocoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from stlm.types import Utterance


class Recipe(ABC):
    """Trains one part from utterances that the core hands it; it never opens shards.

    **Contract.** Deterministic for equal data and seed. ``train`` leaves in `out` what the matching component's factory
    loads. Iterating the utterances a second time is allowed. Too little or silent data raises DataError; a bad model
    is never written silently.

    **Implement** ``train``. **For free**: `stlm train recipe=NAME source=…`, the demo, contract tests.

    **Example**

    >>> from pathlib import Path
    >>> from stlm.testing.fakes import CountRecipe
    >>> import tempfile
    >>> CountRecipe().train([], Path(tempfile.mkdtemp()))
    """

    @abstractmethod
    def train(self, utterances: Iterable[Utterance], out: Path) -> None:
        """Train and write the result into the directory `out`.

        It exists and is empty, or holds the ``checkpoints/`` of an interrupted training with equal options, to go on
        from (`stlm.learn.training` does). They are removed when ``train`` returns.
        """
