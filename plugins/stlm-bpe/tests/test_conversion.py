"""A SentencePiece model and the file written for other tools give equal ids for any text."""

from __future__ import annotations

import io
import random

import pytest
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer

from stlm.errors import FormatError
from stlm_bpe.sentencepiece_encoder import SentencePieceText

PARTS = [*(" " * 6), *"abcdehtr.,é☃中\n\t\0", "the ", " cat", "ing", "[laugh]", "<s>", "[", "😀", "\u2581", "ababa"]
WHOLE = {"byte_fallback": True, "normalization_rule_name": "identity"}


def random_texts(count: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choice(PARTS) for _ in range(rng.randrange(25))) for _ in range(count)]


def train(corpus: list[str], **options: object) -> SentencePieceText:
    written = io.BytesIO()
    given = {"vocab_size": 400, "hard_vocab_limit": False, **options}
    SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=written, minloglevel=2, **given)
    return SentencePieceText(written.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "bpe", **WHOLE},  # Llama 2
        {"model_type": "bpe", **WHOLE, "user_defined_symbols": ["[laugh]", "\u2581\u2581"]},
        {"model_type": "bpe", "normalization_rule_name": "nmt_nfkc", "byte_fallback": True},
        {"model_type": "bpe", "vocab_size": 200},  # unknown characters become one id
        {"model_type": "unigram", "vocab_size": 350, **WHOLE},
        {"model_type": "unigram", "vocab_size": 150},  # T5
    ],
)
def test_ids_and_text_are_equal(options: dict[str, object], corpus: list[str]) -> None:
    encoder = train(corpus, **options)
    written = Tokenizer.from_str(encoder.tokenizer_json())
    for text in [*random_texts(3000), *corpus[:50]]:
        ids = encoder.encode_ids(text)
        assert written.encode(text, add_special_tokens=False).ids == ids, repr(text)
        if 0 not in ids:  # the unknown id is shown otherwise
            assert written.decode(ids, skip_special_tokens=False) == encoder.decode(ids)


def test_models_of_words_have_no_such_file(corpus: list[str]) -> None:
    with pytest.raises(FormatError, match="expected a BPE or unigram model"):
        train(corpus, model_type="word", vocab_size=60).tokenizer_json()
