"""The tokenizer of an export: the text tokenizer's own pipeline, and every other id of the format as a literal.

In: a codec. Out: the content of ``tokenizer.json``, for strings in which a marker opens each stretch of text or of
speech: "[Text]The cat[Speech][Hu12][Hu7]". They become the ids that the codec gives for the same document, the begin id
first and no end id, and those ids become the string again. A unit that someone writes in a text is a unit here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from stlm.codec.codec import TEXT_BLOCK, Codec
from stlm.errors import ConfigError, FormatError
from stlm.interfaces import ExportableTextEncoder

BEGIN = "begin"


def tokenizer_json(codec: Codec) -> dict[str, Any]:
    """The content of ``tokenizer.json``.

    Raises:
        ConfigError: the text encoder cannot be written this way.
        FormatError: two ids have one literal, or a literal is part of the text tokenizer's merges.
    """
    source = json.loads(_exportable(codec).tokenizer_json())
    tokens = token_strings(codec, source)
    literals = {tokens[id] for id in literal_ids(codec)}
    _check_merges(source, literals)
    symbols = [entry for entry in source["added_tokens"] if entry["content"] not in literals]
    is_spaced = codec.format.after_marker == "space"
    return {
        **source,
        "truncation": None,
        "padding": None,
        "added_tokens": _added(codec, symbols, tokens, is_spaced),
        "normalizer": _spaced(source["normalizer"], symbols) if is_spaced else source["normalizer"],
        "decoder": _unspaced(source["decoder"], codec, tokens),
        "post_processor": _beginning(codec, tokens),
        "model": _placed(source["model"], tokens, codec.text_offset),
    }


def token_strings(codec: Codec, source: dict[str, Any]) -> list[str]:
    """The token of every id; text ids without a piece, or whose piece is the literal of another id, are "[text:ID]"."""
    vocabulary, offset = codec.format.vocabulary, codec.text_offset
    tokens = [vocabulary.show(id) for id in range(len(vocabulary))]
    text = range(offset, offset + vocabulary.block(TEXT_BLOCK).num_ids)
    literals = {token for id, token in enumerate(tokens) if id not in text}
    for piece, index in _pieces(source).items():
        if piece not in literals:
            tokens[offset + index] = piece
    token, count = Counter(tokens).most_common(1)[0]
    if count > 1:
        raise FormatError(
            f"{count} ids are shown as {token!r}, expected a literal of its own for each: give the blocks of the "
            "format different symbols, with one {} for the codebook and one for the code where there are codebooks"
        )
    return tokens


def special_ids(codec: Codec) -> set[int]:
    """Begin, end and padding, where the format has them."""
    return {id for id in (codec.format.bos, codec.format.eos, codec.format.pad) if id is not None}


def literal_ids(codec: Codec) -> list[int]:
    """Ids that strings hold as literals: all but text, and begin, end and padding wherever they are."""
    vocabulary = codec.format.vocabulary
    text = range(codec.text_offset, codec.text_offset + vocabulary.block(TEXT_BLOCK).num_ids)
    return [id for id in range(len(vocabulary)) if id not in text or id in special_ids(codec)]


def _exportable(codec: Codec) -> ExportableTextEncoder:
    encoder = codec.text_encoder
    if not isinstance(encoder, ExportableTextEncoder):
        raise ConfigError(
            f"the text encoder {type(encoder).__name__} cannot be exported, expected an ExportableTextEncoder such as "
            "sentencepiece or hf_tokenizer: train with one of these"
        )
    return encoder


def _pieces(source: dict[str, Any]) -> dict[str, int]:
    """Ids of the text tokenizer's pieces; a unigram model has them as a list with scores."""
    vocab = source["model"]["vocab"]
    pieces = vocab if isinstance(vocab, dict) else {piece: index for index, (piece, _) in enumerate(vocab)}
    return {**pieces, **{entry["content"]: entry["id"] for entry in source["added_tokens"]}}


def _check_merges(source: dict[str, Any], literals: set[str]) -> None:
    for left, right in source["model"].get("merges", ()):
        for piece in (left, right, left + right):
            if piece in literals:
                raise FormatError(
                    f"the text tokenizer has {piece!r} in a merge, and it is the literal of an id of the format: give "
                    "that id another symbol"
                )


def _added(codec: Codec, symbols: list[dict[str, Any]], tokens: list[str], is_spaced: bool) -> list[dict[str, Any]]:
    """What is cut out of a string: literals as they are written, then symbols of the text tokenizer in its own form."""
    specials = special_ids(codec)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    literals = [{"id": id, "content": tokens[id], **flags, "special": id in specials} for id in literal_ids(codec)]
    own = [
        {**entry, "id": entry["id"] + codec.text_offset, "normalized": is_spaced or entry["normalized"]}
        for entry in symbols
    ]
    return sorted(literals + own, key=lambda entry: entry["id"])


def _placed(model: dict[str, Any], tokens: list[str], offset: int) -> dict[str, Any]:
    """The model with every token at its id. Literals never reach it: they are cut out of the string before."""
    if not isinstance(model["vocab"], dict):
        scores = {offset + index: score for index, (_, score) in enumerate(model["vocab"])}
        vocab = [[token, scores.get(id, 0.0)] for id, token in enumerate(tokens)]
        return {**model, "vocab": vocab, "unk_id": None if model["unk_id"] is None else model["unk_id"] + offset}
    unknown = model["vocab"].get(model.get("unk_token"))
    changed = {} if unknown is None else {"unk_token": tokens[offset + unknown]}
    return {**model, "vocab": {token: id for id, token in enumerate(tokens)}, **changed}


def _spaced(normalizer: dict[str, Any] | None, symbols: list[dict[str, Any]]) -> dict[str, Any]:
    r"""Puts a space in front of every stretch of text that has none, as the rule "space" asks.

    A symbol that is one id of its own inside text goes through the same steps before it is looked for, so it must stay
    as it is; a text that is nothing but such a symbol gets no space for that reason.
    """
    steps: list[dict[str, Any]] = [{"type": "Prepend", "prepend": " "}]
    if symbols:
        contents = _any_of(entry["content"] for entry in symbols)
        steps.append(_replace(rf"\A (?=(?:{contents})\z)", ""))
    steps.append(_replace(r"\A  ", " "))
    return {"type": "Sequence", "normalizers": [*steps, *([normalizer] if normalizer else [])]}


def _unspaced(decoder: dict[str, Any] | None, codec: Codec, tokens: list[str]) -> dict[str, Any] | None:
    """Takes away the spaces that the codec writes after a marker or the begin, and that a string does not show."""
    format, steps = codec.format, []
    if format.after_marker == "space":
        steps.append(_replace(rf"(?<={re.escape(format.markers.text)}) ", ""))
    if format.legacy_marker_prefix and format.bos is not None:
        literals = [tokens[id] for id in literal_ids(codec)]
        steps.append(_replace(rf"(?:\A|(?<={re.escape(tokens[format.bos])})) (?={_any_of(literals)})", ""))
    if decoder is None or not steps:
        return decoder
    return {"type": "Sequence", "decoders": [decoder, {"type": "Fuse"}, *steps]}


def _beginning(codec: Codec, tokens: list[str]) -> dict[str, Any] | None:
    """Writes what stands before a document."""
    ids = codec.encode((), eos=False).ids.tolist()
    if not ids:
        return None
    begin, first, second = (
        {"SpecialToken": {"id": BEGIN, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 0}},
    )
    return {
        "type": "TemplateProcessing",
        "single": [begin, first],
        "pair": [begin, first, second],
        "special_tokens": {BEGIN: {"id": BEGIN, "ids": ids, "tokens": [tokens[id] for id in ids]}},
    }


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _any_of(symbols: Iterable[str]) -> str:
    return "|".join(map(re.escape, symbols))
