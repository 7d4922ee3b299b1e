"""The laws that stlm asks of F0 extractors and speech encoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import F0ExtractorContract, RecipeContract, SpeechUnitEncoderContract
from stlm.types import Utterance
from stlm_pitch import encoder, recipe
from stlm_pitch.encoder import PitchVqvaeEncoder
from stlm_pitch.fcpe import FcpeExtractor
from stlm_pitch.praat import PraatExtractor
from stlm_pitch.recipe import PitchVqvaeRecipe

from .conftest import spoken


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


class TestPitchVqvaeRecipe(RecipeContract):
    component = "pitch_vqvae"

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        return [Utterance(id=str(seed), audio=spoken(1.5, seed)) for seed in range(4)]

    @pytest.fixture
    def recipe(self) -> PitchVqvaeRecipe:
        sizes = {"num_units": 4, "width": 8, "depth": 1, "batch_size": 2}
        return recipe.build(recipe.Config(**sizes, max_steps=4, checkpoint_every=1, accelerator="cpu"))

    def build_trained(self, path: Path) -> PitchVqvaeEncoder:
        return encoder.build(encoder.Config(path=str(path)))
