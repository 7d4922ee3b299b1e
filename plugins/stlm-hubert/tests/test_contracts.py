"""The laws that stlm asks of every encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import SpeechUnitEncoderContract
from stlm_hubert import encoder, encoder_25hz
from stlm_hubert.encoder import HubertKMeansEncoder
from stlm_hubert.encoder_25hz import Hubert25HzEncoder


class TestHubert25Hz(SpeechUnitEncoderContract):
    component = "hubert_25hz"

    @pytest.fixture
    def encoder(self, official: Path) -> Hubert25HzEncoder:
        return self.reload(official)

    def reload(self, directory: Path) -> Hubert25HzEncoder:
        return encoder_25hz.build(encoder_25hz.Config(path=str(directory)))


class TestHubertKMeans(SpeechUnitEncoderContract):
    component = "hubert"

    @pytest.fixture
    def encoder(self, pretrained: Path, codebook: Path) -> HubertKMeansEncoder:
        return encoder.build(encoder.Config(path=str(pretrained), layer=2, codebook=str(codebook)))

    def reload(self, directory: Path) -> HubertKMeansEncoder:
        return encoder.build(encoder.Config(path=str(directory)))
