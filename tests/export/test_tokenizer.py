"""Strings of an export become the ids that the codec gives, in plain transformers, and ids become strings again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer
from transformers import AutoTokenizer

from stlm.codec import Codec
from stlm.errors import ConfigError, FormatError
from stlm.export.huggingface import write_tokenizer
from stlm.export.tokenizer import tokenizer_json
from stlm.interfaces import TextUnitEncoder
from stlm.testing import factories
from stlm.testing.fakes import ByteText
from stlm.types import Document, Format, Marker, SpeechSpan, TextSpan, Utterance
from stlm_bpe import byte_recipe, hf_encoder, recipe, sentencepiece_encoder

CORPUS = ["The cat sat, didn't it? In 1999 the re-union of the café.", "An answer: the other one; then another!"] * 20
UTTERANCES = [Utterance(id=str(index), text=text) for index, text in enumerate(CORPUS)]
TEXTS = ["The cat, 19 of them!", " café 你好 🙂", "x", "a  b ", "line\nbreak\n  and two", " [Hu3 is not one"]
MARKERS = {"name": "markers", "symbols": ["<pad>", "<s>", "</s>", "[Text]", "[Speech]", "[ASR]"]}
STREAMS = factories.EXPRESSIVE_STREAMS


def own_bpe(directory: Path) -> TextUnitEncoder:
    recipe.BpeRecipe(recipe.Config(vocab_size=310, user_symbols=("[laugh]",))).train(UTTERANCES, directory)
    return sentencepiece_encoder.build(sentencepiece_encoder.Config(path=str(directory)))


def byte_level(directory: Path) -> TextUnitEncoder:
    byte_recipe.ByteBpeRecipe(byte_recipe.Config(vocab_size=300)).train(UTTERANCES, directory)
    return hf_encoder.build(hf_encoder.Config(path=str(directory)))


def unigram(directory: Path) -> TextUnitEncoder:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        model_type="unigram",
        vocab_size=320,
        byte_fallback=True,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return sentencepiece_encoder.SentencePieceText(written.getvalue())


def text_first(data: dict[str, Any]) -> dict[str, Any]:
    return data


def markers_first(data: dict[str, Any]) -> dict[str, Any]:
    text, markers, *units = data["blocks"]
    return {**data, "blocks": [markers, *units, text]}


def as_released(data: dict[str, Any]) -> dict[str, Any]:
    """Begin and end are the text tokenizer's own, text follows its marker, and a lone space the begin."""
    return {**data, "bos": 1, "eos": 2, "pad": None, "after_marker": "no_prefix", "legacy_marker_prefix": True}


def without_begin(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "bos": None}


@pytest.fixture(scope="module", params=[own_bpe, byte_level, unigram])
def text_encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextUnitEncoder:
    return request.param(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module", params=[text_first, markers_first, as_released, without_begin])
def codec(request: pytest.FixtureRequest, text_encoder: TextUnitEncoder) -> Codec:
    return make_codec(text_encoder, request.param)


def make_codec(text_encoder: TextUnitEncoder, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Codec:
    """The text block has ids that the tokenizer does not use."""
    given = factories.expressive_format().as_dict()
    given["blocks"][:2] = [{"name": "text", "size": text_encoder.vocab_size + 7}, MARKERS]
    data = change({**given, "bos": "<s>", "eos": "</s>", "pad": "<pad>"})
    return Codec(Format.from_dict(data), text_encoder, {spec.name: spec for spec in STREAMS})


@pytest.fixture(scope="module")
def tokenizer(codec: Codec, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write(codec, tmp_path_factory.mktemp("export"))


def write(codec: Codec, directory: Path) -> Any:
    write_tokenizer(directory, codec, tokenizer_json(codec))
    return AutoTokenizer.from_pretrained(directory)


def speech(seed: int) -> SpeechSpan:
    rng = np.random.default_rng(seed)
    lengths = {"style": 1, "pitch": 12, "hubert": 25}
    return SpeechSpan(streams={spec.name: factories.make_units(spec, lengths[spec.name], rng) for spec in STREAMS})


DOCUMENTS: list[Document] = [
    *((TextSpan(text=text),) for text in TEXTS),
    (speech(0),),
    (TextSpan(text="The cat"), speech(1), TextSpan(text=" sat, didn't"), speech(2)),
    (Marker(name="[ASR]"), speech(3), TextSpan(text="café\n")),
]


def literal(codec: Codec, document: Document) -> str:
    """The string of a document, a marker before every stretch."""
    markers, shown, modality = codec.format.markers, [], None
    for span in document:
        kind = None if isinstance(span, Marker) else "text" if isinstance(span, TextSpan) else "speech"
        begins = kind is not None and kind != modality
        if begins:
            shown.append(markers.text if kind == "text" else markers.speech)
        text = codec.to_string((span,))
        drops = begins and kind == "text" and codec.format.after_marker == "no_prefix"
        shown.append(text.removeprefix(" ") if drops else text)
        modality = kind
    return "".join(shown)


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_string_becomes_the_ids_of_the_codec_and_they_the_string(
    document: Document, codec: Codec, tokenizer: Any
) -> None:
    string = literal(codec, document)
    ids = tokenizer(string).input_ids
    assert ids == codec.encode(document, eos=False).ids.tolist()
    shown = string.replace("[Text] ", "[Text]") if codec.format.after_marker == "space" else string
    assert tokenizer.decode(ids, skip_special_tokens=True) == shown
    assert tokenizer(shown).input_ids == ids


def test_strings_in_two_modalities_are_those_that_people_see(codec: Codec, tokenizer: Any) -> None:
    document = (TextSpan(text="The cat"), speech(1), TextSpan(text="sat"))
    assert tokenizer(codec.to_string(document)).input_ids == codec.encode(document, eos=False).ids.tolist()


def test_every_id_has_a_token_of_its_own_and_ids_behind_them_none(codec: Codec, tokenizer: Any) -> None:
    vocabulary = codec.format.vocabulary
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(vocabulary))))
    assert len(set(tokens)) == len(tokenizer) == len(vocabulary) and None not in tokens
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(len(vocabulary)))
    for id in np.flatnonzero(codec.kind_of_all() == 2):
        assert tokens[id] == vocabulary.show(int(id))
    assert tokenizer.decode([len(vocabulary), len(vocabulary) + 5]) == ""


def test_begin_end_and_padding_are_those_of_the_format(codec: Codec, tokenizer: Any) -> None:
    format = codec.format
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (
        format.bos,
        format.eos,
        format.pad,
    )


def test_saving_the_loaded_tokenizer_changes_nothing(codec: Codec, tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    string = literal(codec, DOCUMENTS[-1])
    assert again(string).input_ids == tokenizer(string).input_ids


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "opt", "gpt_neox", "gpt2", "mistral", "gemma"])
def test_no_kind_of_model_changes_the_tokenizer(kind: str, tmp_path: Path) -> None:
    """transformers has classes of its own for some, which split text as those models' tokenizers do."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    codec = make_codec(byte_level(tmp_path), text_first)
    tokenizer = write(codec, tmp_path)
    for document in DOCUMENTS:
        assert tokenizer(literal(codec, document)).input_ids == codec.encode(document, eos=False).ids.tolist()


def test_symbols_of_the_text_tokenizer_are_found_with_their_spaces(tmp_path: Path) -> None:
    codec = make_codec(own_bpe(tmp_path), text_first)
    tokenizer = write(codec, tmp_path)
    for text in ("the[laugh]cat", "[laugh] the", " [laugh]", "the [laugh][laugh]"):
        assert tokenizer(f"[Text]{text}").input_ids == codec.encode((TextSpan(text=text),), eos=False).ids.tolist()


def test_codebooks_have_literals(tmp_path: Path) -> None:
    given = factories.codebook_format().as_dict()
    encoder = own_bpe(tmp_path)
    given["blocks"][0]["size"] = encoder.vocab_size
    given |= {"bos": None, "eos": None, "pad": None}
    codec = Codec(Format.from_dict(given), encoder, {"mimi": factories.MIMI})
    tokenizer = write(codec, tmp_path)
    assert tokenizer("[M2:31]").input_ids == [codec.format.vocabulary.offset("mimi") + 2 * 32 + 31]
    given["blocks"][2]["symbol"] = "[M{}]"
    with pytest.raises(FormatError, match=r"32 ids are shown as '\[M0\]'"):
        tokenizer_json(Codec(Format.from_dict(given), encoder, {"mimi": factories.MIMI}))


def test_an_encoder_without_a_file_is_one_line() -> None:
    with pytest.raises(ConfigError, match="ByteText cannot be exported, expected an ExportableTextEncoder"):
        tokenizer_json(factories.base_codec())
    assert isinstance(factories.base_codec().text_encoder, ByteText)


def test_a_literal_that_is_a_piece_of_words_is_one_line(tmp_path: Path) -> None:
    encoder = own_bpe(tmp_path)
    merges = json.loads(encoder.tokenizer_json())["model"]["merges"]
    given = make_codec(encoder, text_first).format.as_dict()
    given["blocks"][1] = {"name": "markers", "symbols": [*MARKERS["symbols"], "".join(merges[0])]}
    codec = Codec(Format.from_dict(given), encoder, {spec.name: spec for spec in STREAMS})
    with pytest.raises(FormatError, match="in a merge"):
        tokenizer_json(codec)
