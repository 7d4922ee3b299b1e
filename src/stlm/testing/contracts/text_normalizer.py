"""Laws of `TextNormalizer`."""

from __future__ import annotations

import pickle
from typing import ClassVar

import pytest

from stlm.interfaces import TextNormalizer
from stlm.testing.contracts.component import ComponentContract


class TextNormalizerContract(ComponentContract):
    """Subclass with a fixture ``normalizer``. Optional: a fixture ``texts`` in its own language."""

    kind: ClassVar[str] = "text_normalizer"

    @pytest.fixture
    def texts(self) -> list[str]:
        return [
            "It's  twenty-one o'clock, Mr. Brown!",
            "[laughs] <noise> (aside) $3.50 for 2 cafés",
            "ÀÉÎ ß ﬁ ½ İ",
            "don't  won't\ncan't\t– 1,000 1st",
            " ",
            "",
        ]

    def test_it_is_idempotent(self, normalizer: TextNormalizer, texts: list[str]) -> None:
        for text in texts:
            once = normalizer.normalize(text)
            assert isinstance(once, str)
            assert normalizer.normalize(once) == once

    def test_it_is_deterministic(self, normalizer: TextNormalizer, texts: list[str]) -> None:
        assert [normalizer.normalize(text) for text in texts] == [normalizer.normalize(text) for text in texts]

    def test_nothing_stays_nothing(self, normalizer: TextNormalizer) -> None:
        assert normalizer.normalize("") == ""

    def test_it_pickles(self, normalizer: TextNormalizer, texts: list[str]) -> None:
        again = pickle.loads(pickle.dumps(normalizer))
        assert [again.normalize(text) for text in texts] == [normalizer.normalize(text) for text in texts]
