"""The laws that stlm asks of F0 extractors and speech encoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import F0ExtractorContract, SpeechUnitEncoderContract
from stlm_pitch import encoder
from stlm_pitch.encoder import PitchVqvaeEncoder
from stlm_pitch.fcpe import FcpeExtractor
from stlm_pitch.praat import PraatExtractor


@pytest.fixture(scope="module")
def loaded(vqvae_path: Path) -> PitchVqvaeEncoder:
    return encoder.build(encoder.Config(path=str(vqvae_path)))


class TestFcpe(F0ExtractorContract):
    component = "fcpe"

    @pytest.fixture
    def extractor(self, fcpe: FcpeExtractor) -> FcpeExtractor:
        return fcpe


class TestPraat(F0ExtractorContract):
    component = "praat"

    @pytest.fixture
    def extractor(self) -> PraatExtractor:
        pytest.importorskip("parselmouth", reason="needs stlm-pitch[praat]")
        return PraatExtractor()


class TestPitchVqvae(SpeechUnitEncoderContract):
    component = "pitch_vqvae"

    @pytest.fixture
    def encoder(self, loaded: PitchVqvaeEncoder) -> PitchVqvaeEncoder:
        return loaded

    def reload(self, directory: Path) -> PitchVqvaeEncoder:
        return encoder.build(encoder.Config(path=str(directory)))
