"""Spaces survive, offsets are exact, and the word cache changes nothing."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from stlm.errors import ConfigError, DataError, FormatError
from stlm_bpe.sentencepiece_encoder import Config, SentencePieceText, build, parse_model, splits_at_spaces

PARTS = [*(" " * 6), *"abcdehtr.,é☃中\n\t\0", "the ", " cat", "ing", "[laugh]", " [laugh]", "[", "😀", "\u2581", "   "]


@pytest.fixture(scope="module")
def encoder(model_path: Path) -> SentencePieceText:
    return build(Config(path=str(model_path)))


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice(PARTS) for _ in range(rng.randrange(25))) for _ in range(count)]


def foreign(corpus: list[str], **options: object) -> SentencePieceText:
    """A model trained elsewhere, with SentencePiece's own defaults except for `options`."""
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=written, minloglevel=2, **{"vocab_size": 400, **options}
    )
    return SentencePieceText(written.getvalue())


@pytest.mark.parametrize(
    "text", ["the cat", " the cat", "", " ", "  two", "tail ", "café ☃ 中", "a\nb\tc", "New, York!"]
)
def test_every_text_survives_with_its_spaces(encoder: SentencePieceText, text: str) -> None:
    assert encoder.decode(encoder.encode(text).ids) == text
    assert encoder.decode(encoder.encode_ids(text)) == text


def test_the_cache_gives_what_plain_encoding_gives(encoder: SentencePieceText, corpus: list[str]) -> None:
    assert encoder.splits_exactly
    plain = SentencePieceText(encoder._model)
    plain.splits_exactly = False
    for text in [*random_texts(5000), *corpus]:
        cached, whole = encoder.encode(text), plain.encode(text)
        assert encoder.encode_ids(text) == plain.encode_ids(text) == cached.ids.tolist(), repr(text)
        np.testing.assert_array_equal(cached.char_offsets, whole.char_offsets, err_msg=repr(text))


def test_offsets_tile_the_text(encoder: SentencePieceText) -> None:
    """The characters of the pieces, one after another, are the text."""
    for text in random_texts(2000):
        offsets = encoder.encode(text).char_offsets
        assert "".join(text[first:last] for first, last in offsets) == text


def test_a_piece_covers_its_own_characters(encoder: SentencePieceText) -> None:
    text = "The cat café"
    units = encoder.encode(text)
    for index, (first, last) in zip(units.ids, units.char_offsets, strict=True):
        assert encoder.decode([index]) in (text[first:last], "\ufffd")


def test_user_symbols_are_one_id(encoder: SentencePieceText) -> None:
    assert len(encoder.encode_ids("[laugh]")) == 1
    assert encoder.encode_ids("[laugh]")[0] in encoder.encode_ids("the[laugh] cat")


def test_control_symbols_in_text_are_text(encoder: SentencePieceText) -> None:
    assert not {0, 1, 2} & set(encoder.encode_ids(" <s> </s> <unk>"))


def test_a_space_in_front_gives_the_ids_of_a_model_with_dummy_prefix(corpus: list[str]) -> None:
    """Llama 2's settings: SentencePiece adds the space itself; here it is part of the text."""
    llama = foreign(
        corpus, model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False
    )
    original = SentencePieceProcessor(model_proto=llama._model)
    assert llama.splits_exactly
    assert original.encode("the cat") != original.encode(" the cat")
    for text in ["the cat", *corpus[:50]]:
        assert llama.encode_ids(f" {text}") == original.encode(text)
        assert llama.decode(llama.encode_ids(text)) == text
        assert llama.decode(llama.encode_ids(f" {text}")) == f" {text}"


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram", "vocab_size": 150},
        {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc"},
        {"model_type": "bpe", "normalization_rule_name": "identity", "split_by_whitespace": False},
        {"model_type": "bpe", "normalization_rule_name": "identity", "treat_whitespace_as_suffix": True},
    ],
)
def test_models_whose_pieces_may_cross_words_are_encoded_whole(corpus: list[str], options: dict[str, object]) -> None:
    model = foreign(corpus, **options)
    assert not model.splits_exactly
    for text in [" the cat", "the cat", *corpus[:20]]:
        assert model.encode_ids(text) == model._processor.encode(text)
        assert model.decode(model.encode_ids(text)) == text


def test_the_pieces_are_believed_and_not_the_flag(encoder: SentencePieceText) -> None:
    proto = parse_model(encoder._model, "test")
    assert splits_at_spaces(proto)
    proto.pieces[400].piece = "the\u2581cat"
    assert not splits_at_spaces(proto)


def test_the_fingerprint_is_that_of_the_file_and_survives_saving(
    encoder: SentencePieceText, model_path: Path, tmp_path: Path
) -> None:
    assert encoder.fingerprint == hashlib.sha256((model_path / "tokenizer.model").read_bytes()).hexdigest()
    encoder.save(tmp_path)
    for again in (build(Config(path=str(tmp_path))), build(Config(path=str(tmp_path / "tokenizer.model")))):
        assert again.fingerprint == encoder.fingerprint
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy.encode_ids(" the cat") == encoder.encode_ids(" the cat")


def test_ids_may_be_numpy_integers(encoder: SentencePieceText) -> None:
    assert encoder.decode(np.array(encoder.encode_ids(" the cat"), np.int64)) == " the cat"


def test_bad_input_is_one_clear_line(encoder: SentencePieceText, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"id 500 is outside the text vocabulary, expected 0\.\.499"):
        encoder.decode([3, 500])
    with pytest.raises(FormatError, match="id -1"):
        encoder.decode([-1])
    with pytest.raises(DataError, match="lone surrogates"):
        encoder.encode(" the \ud800")
    with pytest.raises(ConfigError, match="set path"):
        build(Config())
    with pytest.raises(DataError, match="check the path"):
        build(Config(path=str(tmp_path)))
    (tmp_path / "tokenizer.model").write_bytes(b"{}")
    with pytest.raises(FormatError, match="not a SentencePiece model"):
        build(Config(path=str(tmp_path)))
