"""The laws that stlm asks of every text encoder and recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import RecipeContract, TextUnitEncoderContract
from stlm_bpe import hf_encoder, sentencepiece_encoder
from stlm_bpe.hf_encoder import HuggingFaceText
from stlm_bpe.recipe import BpeRecipe, Config
from stlm_bpe.sentencepiece_encoder import SentencePieceText


class TestSentencePieceText(TextUnitEncoderContract):
    @pytest.fixture
    def encoder(self, model_path: Path) -> SentencePieceText:
        return sentencepiece_encoder.build(sentencepiece_encoder.Config(path=str(model_path)))


class TestByteLevel(TextUnitEncoderContract):
    @pytest.fixture
    def encoder(self, byte_level_path: Path) -> HuggingFaceText:
        return hf_encoder.build(hf_encoder.Config(path=str(byte_level_path)))


class TestLlama(TextUnitEncoderContract):
    @pytest.fixture
    def encoder(self, llama_path: Path) -> HuggingFaceText:
        return hf_encoder.build(hf_encoder.Config(path=str(llama_path)))


class TestBpeRecipe(RecipeContract):
    @pytest.fixture
    def recipe(self) -> BpeRecipe:
        return BpeRecipe(Config(vocab_size=320))
