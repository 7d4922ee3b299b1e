"""The laws that stlm asks of every encoder, vocoder and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import RecipeContract, SpeechUnitEncoderContract, VocoderContract
from stlm_logmel import encoder as encoder_module
from stlm_logmel import vocoder as vocoder_module
from stlm_logmel.encoder import LogMelEncoder
from stlm_logmel.recipe import Config, LogMelKMeansRecipe
from stlm_logmel.vocoder import GriffinLimVocoder


class TestLogMelEncoder(SpeechUnitEncoderContract):
    @pytest.fixture
    def encoder(self, codebook_path: Path) -> LogMelEncoder:
        return encoder_module.build(encoder_module.Config(path=str(codebook_path)))


class TestGriffinLimVocoder(VocoderContract):
    @pytest.fixture
    def vocoder(self, codebook_path: Path) -> GriffinLimVocoder:
        return vocoder_module.build(vocoder_module.Config(path=str(codebook_path), iterations=4))


class TestLogMelKMeansRecipe(RecipeContract):
    @pytest.fixture
    def recipe(self) -> LogMelKMeansRecipe:
        return LogMelKMeansRecipe(Config(num_units=8))
