"""A small SentencePiece model and two small Hugging Face tokenizers, trained on made-up English."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from stlm.types import Utterance
from stlm_bpe.recipe import BpeRecipe, Config

SYLLABLES = ["the", "re", "in", "an", "ou", "st", "er", "at", "ing", "con", "la", "mi", "so", "ta", "ke", "lo", "ri"]
SYMBOL = "[laugh]"


def sentences(count: int = 400) -> list[str]:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(300)] + ["the", "cat", "café", "don't"]
    return [" ".join(rng.choice(words, rng.integers(3, 12))).capitalize() + "." for _ in range(count)]


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return sentences()


@pytest.fixture(scope="session")
def documents(corpus: list[str]) -> list[Utterance]:
    return [Utterance(id=str(index), text=text) for index, text in enumerate(corpus)]


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, documents: list[Utterance]) -> Path:
    out = tmp_path_factory.mktemp("bpe")
    BpeRecipe(Config(vocab_size=500, user_symbols=(SYMBOL,))).train(documents, out)
    return out


@pytest.fixture(scope="session")
def byte_level_path(tmp_path_factory: pytest.TempPathFactory, corpus: list[str]) -> Path:
    """As GPT-2 and Llama 3: byte-level BPE; made worse by a space in front, which has to be switched off."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    out = tmp_path_factory.mktemp("byte_level")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(out)
    return out


@pytest.fixture(scope="session")
def llama_path(tmp_path_factory: pytest.TempPathFactory, corpus: list[str]) -> Path:
    """As Llama 2: Metaspace with a space in front and one stripped in decoding, byte fallback."""
    from transformers import LlamaTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    out = tmp_path_factory.mktemp("llama")
    merges = [tuple(merge) for merge in model["merges"]]
    LlamaTokenizerFast(vocab=model["vocab"], merges=merges).save_pretrained(out)
    return out
