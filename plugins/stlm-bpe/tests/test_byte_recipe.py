"""Byte-level BPE: every text survives, reserved ids stay reserved, and transformers loads the result."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.errors import ConfigError, DataError
from stlm.types import Utterance
from stlm_bpe import hf_encoder
from stlm_bpe.byte_recipe import ByteBpeRecipe, Config

TEXTS = [" The cat sat.", "Ünïcode, 日本 and 🙂", "line\nbreak  two spaces", "<s> is text, 2024 is digits", ""]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("byte_bpe")
    documents = [Utterance(id=str(index), text="the cat saw the dog in 1999 and 2000") for index in range(30)]
    ByteBpeRecipe(Config(vocab_size=276)).train(documents, out)
    return out


def load(path: Path) -> hf_encoder.HuggingFaceText:
    return hf_encoder.build(hf_encoder.Config(path=str(path)))


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_survives(trained: Path, text: str) -> None:
    encoder = load(trained)
    assert encoder.decode(encoder.encode_ids(text)) == text


def test_reserved_symbols_are_the_first_ids_and_never_found_in_text(trained: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained)
    assert tokenizer.convert_tokens_to_ids(["<unk>", "<s>", "</s>"]) == [0, 1, 2]
    assert min(load(trained).encode_ids("<unk><s></s>")) > 2
    assert load(trained).vocab_size == 276


def test_digits_stay_single_and_common_words_become_one_id(trained: Path) -> None:
    encoder = load(trained)
    assert len(encoder.encode_ids("1999")) == 4
    assert len(encoder.encode_ids(" the")) == 1


def test_a_size_that_the_texts_do_not_give_says_what_they_do(tmp_path: Path) -> None:
    few = [Utterance(id="a", text="the cat")]
    with pytest.raises(ConfigError, match="too large for these texts, expected at most 259"):
        ByteBpeRecipe(Config(vocab_size=4000)).train(few, tmp_path)
    with pytest.raises(ConfigError, match="too small, expected at least 259"):
        Config(vocab_size=100)
    with pytest.raises(DataError, match="byte_bpe got no text"):
        ByteBpeRecipe(Config()).train([Utterance(id="a", text=" ")], tmp_path)
