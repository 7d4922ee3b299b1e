"""Laws of `Judge`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import Judge
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import make_sounds
from stlm.types import Audio


class JudgeContract(ComponentContract):
    """Subclass with a fixture ``judge``. Optional: a fixture ``sounds`` with speech that it understands."""

    kind: ClassVar[str] = "judge"

    @pytest.fixture
    def sounds(self) -> list[Audio]:
        return make_sounds()

    def test_every_audio_gets_one_text(self, judge: Judge, sounds: list[Audio]) -> None:
        texts = judge.transcribe(sounds)
        assert len(texts) == len(sounds) and all(isinstance(text, str) for text in texts)

    def test_a_batch_gives_what_singles_give_in_order(self, judge: Judge, sounds: list[Audio]) -> None:
        singles = [judge.transcribe([sound])[0] for sound in sounds]
        assert judge.transcribe(sounds) == singles
        assert judge.transcribe(sounds[::-1]) == singles[::-1]

    def test_silence_says_nothing(self, judge: Judge) -> None:
        for seconds in (0, 1):
            silence = Audio(samples=np.zeros(16000 * seconds, np.float32), sample_rate=16000)
            assert judge.transcribe([silence]) == [""]

    def test_no_audio_gives_no_text(self, judge: Judge) -> None:
        assert judge.transcribe([]) == []

    def test_it_is_deterministic(self, judge: Judge, sounds: list[Audio]) -> None:
        assert judge.transcribe(sounds) == judge.transcribe(sounds)
