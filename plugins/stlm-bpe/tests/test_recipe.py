"""Training repeats itself, is quiet, and explains vocabularies that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.errors import ConfigError, DataError
from stlm.types import Utterance
from stlm_bpe.recipe import BpeRecipe, Config
from stlm_bpe.sentencepiece_encoder import Config as EncoderConfig
from stlm_bpe.sentencepiece_encoder import build


def train(out: Path, documents: list[Utterance], **options: object) -> bytes:
    out.mkdir(exist_ok=True)
    BpeRecipe(Config(**{"vocab_size": 400, **options})).train(documents, out)
    return (out / "tokenizer.model").read_bytes()


def test_equal_data_give_equal_models(tmp_path: Path, documents: list[Utterance]) -> None:
    assert train(tmp_path / "a", documents) == train(tmp_path / "b", documents)


def test_a_sample_of_the_lines_repeats_itself_and_follows_its_seed(tmp_path: Path, documents: list[Utterance]) -> None:
    first = train(tmp_path / "a", documents, max_lines=50)
    assert first == train(tmp_path / "b", documents, max_lines=50)
    assert first != train(tmp_path / "c", documents, max_lines=50, seed=1)


def test_it_prints_nothing(tmp_path: Path, documents: list[Utterance], capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, documents)
    assert capfd.readouterr() == ("", "")


def test_common_words_become_one_id_after_a_space(tmp_path: Path) -> None:
    train(tmp_path, [Utterance(id=str(i), text="the cat saw the dog") for i in range(20)], vocab_size=282)
    assert len(build(EncoderConfig(path=str(tmp_path))).encode_ids(" the")) == 1


def test_specials_stand_where_llama_has_them(tmp_path: Path, documents: list[Utterance]) -> None:
    train(tmp_path, documents, user_symbols=["[a]", "[b]"])
    processor = build(EncoderConfig(path=str(tmp_path)))._processor
    assert [processor.id_to_piece(index) for index in range(5)] == ["<unk>", "<s>", "</s>", "[a]", "[b]"]
    assert processor.get_piece_size() == 400


@pytest.mark.parametrize(("size", "message"), [(100, "too small, expected more than"), (90_000, "too large")])
def test_a_vocabulary_that_does_not_fit_says_what_would(
    tmp_path: Path, documents: list[Utterance], size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"vocab_size {size} is {message}") as caught:
        train(tmp_path, documents, vocab_size=size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("symbols", [("a b",), ("",), ("x", "x"), ("<s>",), ("\u2581x",)])
def test_symbols_that_cannot_work_are_config_errors(symbols: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="user_symbols"):
        BpeRecipe(Config(user_symbols=symbols))


def test_no_text_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        train(tmp_path, [Utterance(id="silent"), Utterance(id="blank", text=" \n ")])


def test_upper_limit_trains_what_a_small_corpus_gives(tmp_path: Path) -> None:
    texts = [Utterance(id=str(i), text="the cat saw the dog") for i in range(20)]
    train(tmp_path, texts, vocab_size=4000, exact_size=False)
    encoder = build(EncoderConfig(path=str(tmp_path)))
    assert 260 < encoder.vocab_size < 400
    assert encoder.decode(encoder.encode("the cat").ids) == "the cat"
