"""The laws that stlm asks of every encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import ClassifierContract, RecipeContract, SpeechUnitEncoderContract
from stlm.types import Utterance
from stlm_style import encoder, judge, recipe
from stlm_style.encoder import StyleEncoder
from stlm_style.judge import StyleJudge
from stlm_style.recipe import StyleUnitsRecipe

from .test_recipe import SMALL, corpus


class TestStyleEncoder(SpeechUnitEncoderContract):
    component = "style_w2v2"

    @pytest.fixture
    def encoder(self, classifier_path: Path) -> StyleEncoder:
        return self.reload(classifier_path)

    def reload(self, directory: Path) -> StyleEncoder:
        return encoder.build(encoder.Config(path=str(directory)))


class TestStyleUnitsRecipe(RecipeContract):
    component = "style_units"

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        return corpus(2)

    @pytest.fixture
    def recipe(self) -> StyleUnitsRecipe:
        return recipe.build(recipe.Config(**{**SMALL, "max_steps": 4, "checkpoint_every": 1}))

    def build_trained(self, path: Path) -> StyleEncoder:
        return encoder.build(encoder.Config(path=str(path)))


class TestStyleJudge(ClassifierContract):
    component = "style_w2v2"

    @pytest.fixture
    def classifier(self, classifier_path: Path) -> StyleJudge:
        return judge.build(judge.Config(path=str(classifier_path)))
