"""Laws of `Aligner`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.interfaces import Aligner
from stlm.testing.contracts.component import ComponentContract
from stlm.types import Audio
from stlm.types.utterance import check_words


class AlignerContract(ComponentContract):
    """Subclass with a fixture ``aligner``, and one ``spoken``: an `Audio` and the text that it says.

    The default ``spoken`` is two seconds of noise, which a real aligner will refuse.
    """

    kind: ClassVar[str] = "aligner"

    @pytest.fixture
    def spoken(self) -> tuple[Audio, str]:
        noise = np.random.default_rng(0).normal(0, 0.1, 32000).astype(np.float32)
        return Audio(samples=noise, sample_rate=16000), "One, two; three - it's four!"

    def test_words_come_in_order_within_audio_and_text(self, aligner: Aligner, spoken: tuple[Audio, str]) -> None:
        audio, text = spoken
        words = aligner.align(audio, text)
        assert words
        check_words("spoken", words, text, audio)
        places = [(word.char_start, word.char_end) for word in words]
        assert places == sorted(places)

    def test_offsets_point_at_the_words(self, aligner: Aligner, spoken: tuple[Audio, str]) -> None:
        audio, text = spoken
        for word in aligner.align(audio, text):
            assert text[word.char_start : word.char_end] == word.text
            assert word.score is None or 0 <= word.score <= 1

    def test_every_letter_belongs_to_a_word(self, aligner: Aligner, spoken: tuple[Audio, str]) -> None:
        audio, text = spoken
        covered = {place for word in aligner.align(audio, text) for place in range(word.char_start, word.char_end)}
        assert all(place in covered for place, letter in enumerate(text) if letter.isalnum())

    def test_it_is_deterministic(self, aligner: Aligner, spoken: tuple[Audio, str]) -> None:
        assert aligner.align(*spoken) == aligner.align(*spoken)

    def test_text_that_cannot_be_aligned_is_a_data_error(self, aligner: Aligner, spoken: tuple[Audio, str]) -> None:
        audio, text = spoken
        silence = Audio(samples=np.zeros(0, np.float32), sample_rate=audio.sample_rate)
        with pytest.raises(DataError):
            aligner.align(silence, text)
