"""The laws that stlm asks of every encoder, vocoder and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import RecipeContract, SpeechUnitEncoderContract, VocoderContract
from stlm_logmel import encoder, recipe, vocoder
from stlm_logmel.encoder import LogMelEncoder
from stlm_logmel.recipe import LogMelKMeansRecipe
from stlm_logmel.vocoder import GriffinLimVocoder


class TestLogMelEncoder(SpeechUnitEncoderContract):
    component = "logmel"

    @pytest.fixture
    def encoder(self, codebook_path: Path) -> LogMelEncoder:
        return self.reload(codebook_path)

    def reload(self, directory: Path) -> LogMelEncoder:
        return encoder.build(encoder.Config(path=str(directory)))


class TestGriffinLimVocoder(VocoderContract):
    component = "griffinlim"

    @pytest.fixture
    def vocoder(self, codebook_path: Path) -> GriffinLimVocoder:
        return self.reload(codebook_path)

    def reload(self, directory: Path) -> GriffinLimVocoder:
        return vocoder.build(vocoder.Config(path=str(directory), iterations=4))


class TestLogMelKMeansRecipe(RecipeContract):
    component = "logmel_kmeans"

    @pytest.fixture
    def recipe(self) -> LogMelKMeansRecipe:
        return recipe.build(recipe.Config(num_units=8))

    def build_trained(self, path: Path) -> LogMelEncoder:
        return encoder.build(encoder.Config(path=str(path)))
