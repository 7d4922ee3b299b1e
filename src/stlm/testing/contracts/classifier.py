"""Laws of `Classifier`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import Classifier
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import make_sounds
from stlm.types import Audio


class ClassifierContract(ComponentContract):
    """Subclass with a fixture ``classifier``. Optional: a fixture ``sounds`` with speech that it tells apart."""

    kind: ClassVar[str] = "classifier"

    @pytest.fixture
    def sounds(self) -> list[Audio]:
        return make_sounds()

    def test_labels_are_distinct(self, classifier: Classifier) -> None:
        assert classifier.labels and len(set(classifier.labels)) == len(classifier.labels)

    def test_every_audio_gets_one_of_the_labels(self, classifier: Classifier, sounds: list[Audio]) -> None:
        found = classifier.classify(sounds)
        assert len(found) == len(sounds) and set(found) <= set(classifier.labels)

    def test_a_batch_gives_what_singles_give_in_order(self, classifier: Classifier, sounds: list[Audio]) -> None:
        singles = [classifier.classify([sound])[0] for sound in sounds]
        assert classifier.classify(sounds) == singles
        assert classifier.classify(sounds[::-1]) == singles[::-1]

    def test_silence_is_no_error(self, classifier: Classifier) -> None:
        for seconds in (0, 1):
            silence = Audio(samples=np.zeros(16000 * seconds, np.float32), sample_rate=16000)
            assert classifier.classify([silence])[0] in classifier.labels

    def test_no_audio_gives_no_label(self, classifier: Classifier) -> None:
        assert classifier.classify([]) == []

    def test_it_is_deterministic(self, classifier: Classifier, sounds: list[Audio]) -> None:
        assert classifier.classify(sounds) == classifier.classify(sounds)
