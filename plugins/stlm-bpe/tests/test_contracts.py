"""The laws that stlm asks of every text encoder and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import RecipeContract, TextUnitEncoderContract
from stlm_bpe import byte_recipe, hf_encoder, recipe, sentencepiece_encoder
from stlm_bpe.hf_encoder import HuggingFaceText
from stlm_bpe.recipe import BpeRecipe
from stlm_bpe.sentencepiece_encoder import SentencePieceText


class TestSentencePieceText(TextUnitEncoderContract):
    component = "sentencepiece"

    @pytest.fixture
    def encoder(self, model_path: Path) -> SentencePieceText:
        return self.reload(model_path)

    def reload(self, directory: Path) -> SentencePieceText:
        return sentencepiece_encoder.build(sentencepiece_encoder.Config(path=str(directory)))


class TestByteLevel(TextUnitEncoderContract):
    component = "hf_tokenizer"

    @pytest.fixture
    def encoder(self, byte_level_path: Path) -> HuggingFaceText:
        return self.reload(byte_level_path)

    def reload(self, directory: Path) -> HuggingFaceText:
        return hf_encoder.build(hf_encoder.Config(path=str(directory)))


class TestLlama(TextUnitEncoderContract):
    @pytest.fixture
    def encoder(self, llama_path: Path) -> HuggingFaceText:
        return self.reload(llama_path)

    def reload(self, directory: Path) -> HuggingFaceText:
        return hf_encoder.build(hf_encoder.Config(path=str(directory)))


class TestBpeRecipe(RecipeContract):
    component = "bpe"

    @pytest.fixture
    def recipe(self) -> BpeRecipe:
        return recipe.build(recipe.Config(vocab_size=320))

    def build_trained(self, path: Path) -> SentencePieceText:
        return sentencepiece_encoder.build(sentencepiece_encoder.Config(path=str(path)))


class TestByteBpeRecipe(RecipeContract):
    component = "byte_bpe"

    @pytest.fixture
    def recipe(self) -> byte_recipe.ByteBpeRecipe:
        return byte_recipe.build(byte_recipe.Config(vocab_size=300, exact_size=False))

    def build_trained(self, path: Path) -> HuggingFaceText:
        return hf_encoder.build(hf_encoder.Config(path=str(path)))
