"""Hugging Face tokenizers keep spaces, whatever their pipeline adds or strips."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from stlm.errors import ConfigError, DataError, FormatError
from stlm_bpe.hf_encoder import Config, HuggingFaceText, build, keep_spaces, load_tokenizer


@pytest.fixture(scope="module", params=["byte_level_path", "llama_path"])
def encoder(request: pytest.FixtureRequest) -> HuggingFaceText:
    return build(Config(path=str(request.getfixturevalue(request.param))))


@pytest.mark.parametrize("text", ["the cat", " the cat", "", " ", "café ☃  中", "a </s> b"])
def test_every_text_survives_with_its_spaces(encoder: HuggingFaceText, text: str) -> None:
    assert encoder.decode(encoder.encode(text).ids) == text
    assert encoder.encode_ids(text) == encoder.encode(text).ids.tolist()


def test_a_space_in_front_gives_the_ids_of_the_original(encoder: HuggingFaceText, corpus: list[str]) -> None:
    for text in corpus[:50]:
        assert encoder.encode_ids(f" {text}") == encoder._tokenizer.encode(text, add_special_tokens=False)


def test_offsets_cover_the_text_with_its_spaces(encoder: HuggingFaceText) -> None:
    text = " the cat don't"
    offsets = encoder.encode(text).char_offsets
    assert "".join(text[first:last] for first, last in offsets) == text


def test_special_tokens_in_text_are_text(encoder: HuggingFaceText) -> None:
    special = encoder._tokenizer.eos_token_id
    assert special not in encoder.encode_ids("</s>")
    assert encoder._tokenizer.encode("</s>", add_special_tokens=False) == [special]


def test_saving_keeps_fingerprint_and_ids(encoder: HuggingFaceText, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    for again in (build(Config(path=str(tmp_path))), pickle.loads(pickle.dumps(encoder))):
        assert again.fingerprint == encoder.fingerprint
        assert again.encode_ids(" the cat") == encoder.encode_ids(" the cat")


def test_special_tokens_behind_the_pieces_have_their_names_in_the_file(byte_level_path: Path) -> None:
    """As Llama 3 has them: an id, and nothing that a text becomes."""
    tokenizer = load_tokenizer(str(byte_level_path))
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    written = Tokenizer.from_str(HuggingFaceText(tokenizer).tokenizer_json())
    assert written.token_to_id("<|pad|>") == tokenizer.pad_token_id == 500
    assert 500 not in written.encode("a <|pad|>").ids


def test_older_pipelines_lose_their_prefix_too() -> None:
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    source = {
        "normalizer": {"type": "Sequence", "normalizers": [prepend, replace]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "post_processor": {"type": "ByteLevel"},
    }
    kept = keep_spaces(source)
    assert kept["normalizer"] == {"type": "Sequence", "normalizers": [replace]}
    assert kept["decoder"] is None
    assert kept["post_processor"] is None


def test_bad_input_is_one_clear_line(encoder: HuggingFaceText, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"id {encoder.vocab_size} is outside"):
        encoder.decode([encoder.vocab_size])
    with pytest.raises(DataError, match="lone surrogates"):
        encoder.encode("\ud800")
    with pytest.raises(ConfigError, match="set path"):
        build(Config())
    with pytest.raises(DataError, match="no tokenizer there") as caught:
        build(Config(path=str(tmp_path)))
    assert "\n" not in str(caught.value)
