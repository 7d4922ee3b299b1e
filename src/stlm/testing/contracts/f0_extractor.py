"""Laws of `F0Extractor`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import F0Extractor
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import make_sounds
from stlm.types import Audio


class F0ExtractorContract(ComponentContract):
    """Subclass with a fixture ``extractor``; set ``sample_rate`` if it works at another rate than 16 kHz."""

    kind: ClassVar[str] = "f0_extractor"
    sample_rate: ClassVar[int] = 16000

    @pytest.fixture
    def sounds(self) -> list[Audio]:
        return make_sounds(sample_rate=self.sample_rate)[:5]

    def test_frames_have_pitch_and_voicing(self, extractor: F0Extractor, sounds: list[Audio]) -> None:
        for sound in sounds:
            f0, voiced = extractor.extract(sound)
            assert f0.dtype == np.float32 and voiced.dtype == np.bool_
            assert f0.shape == voiced.shape and f0.ndim == 1
            assert np.isfinite(f0).all() and (f0[voiced] > 0).all() and (f0[~voiced] == 0).all()

    def test_there_is_one_frame_each_hop(self, extractor: F0Extractor, sounds: list[Audio]) -> None:
        for sound in sounds:
            assert abs(len(extractor.extract(sound)[0]) - sound.num_samples / extractor.hop) <= 2

    def test_silence_gives_zeros_and_no_error(self, extractor: F0Extractor) -> None:
        f0, voiced = extractor.extract(
            Audio(samples=np.zeros(self.sample_rate, np.float32), sample_rate=self.sample_rate)
        )
        assert not voiced.any() and not f0.any()

    @pytest.mark.parametrize("hertz", [110.0, 220.0])
    def test_a_steady_voice_has_its_pitch(self, extractor: F0Extractor, hertz: float) -> None:
        time = np.arange(self.sample_rate) / self.sample_rate
        voice = sum(np.sin(2 * np.pi * hertz * harmonic * time) / harmonic for harmonic in range(1, 8))
        f0, voiced = extractor.extract(Audio(samples=np.float32(0.2) * np.float32(voice), sample_rate=self.sample_rate))
        assert voiced.mean() > 0.8
        assert abs(float(np.median(f0[voiced])) / hertz - 1) < 0.03

    def test_it_is_deterministic(self, extractor: F0Extractor, sounds: list[Audio]) -> None:
        for sound in sounds:
            for one, two in zip(extractor.extract(sound), extractor.extract(sound), strict=True):
                np.testing.assert_array_equal(one, two)
