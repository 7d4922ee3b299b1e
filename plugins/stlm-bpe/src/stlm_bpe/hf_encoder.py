"""`HuggingFaceText`: any Hugging Face fast tokenizer as text encoder. About 1 million ids per second on one core.

The space before a word is part of the text. Tokenizers that put a space in front by themselves (SentencePiece ports
such as Llama 2's: ``Metaspace``, ``Prepend``, ``add_prefix_space``) have that switched off, in the encoder and in the
decoder, so that ``decode(encode(text).ids) == text``. Byte-level BPE (GPT-2, Llama 3, Qwen) keeps every text;
tokenizers that fold case or split off punctuation for good (BERT's WordPiece) cannot. Strings such as "</s>" inside
text are text, never the special id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces import ExportableTextEncoder
from stlm.types import TextUnits


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``hf_tokenizer``.

    Args:
        path: a directory that ``save_pretrained`` or ``save`` wrote, or a hub name.
        revision: branch, tag or commit on the hub; empty for the main branch.
    """

    path: str = ""
    revision: str = ""


def build(config: Config) -> HuggingFaceText:
    if not config.path:
        raise ConfigError("hf_tokenizer needs a tokenizer: set path to a directory or a hub name such as gpt2, got ''")
    return HuggingFaceText(load_tokenizer(config.path, config.revision))


def load_tokenizer(path: str, revision: str = "") -> Any:
    """A fast tokenizer of transformers; code from the hub is never run.

    Raises:
        DataError: it cannot be found or read. ConfigError: it has no fast version.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision or "main", trust_remote_code=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path}: no tokenizer there ({reason}), expected a directory with tokenizer.json or a hub name: "
            "check the path, and the network for hub names"
        ) from error
    if not tokenizer.is_fast:
        raise ConfigError(f"{path}: {type(tokenizer).__name__} has no fast version, expected a fast tokenizer")
    return tokenizer


class HuggingFaceText(ExportableTextEncoder):
    """A fast tokenizer with exact spaces and offsets, and without parsing of special tokens in text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        source = json.loads(tokenizer.backend_tokenizer.to_str())
        source["truncation"] = source["padding"] = None  # state of the caller, not of the tokenizer
        self._fingerprint = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
        self._backend = Tokenizer.from_str(json.dumps(keep_spaces(source)))
        self._backend.encode_special_tokens = True
        self._size = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1

    def __reduce__(self) -> tuple[Any, ...]:
        return HuggingFaceText, (self._tokenizer,)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id; vocabularies may have holes."""
        return self._size

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def encode(self, text: str) -> TextUnits:
        found = self._encode(text)
        offsets = np.asarray(found.offsets, dtype=np.int32).reshape(-1, 2)
        return TextUnits(ids=np.asarray(found.ids, np.int32), char_offsets=offsets, fingerprint=self._fingerprint)

    def encode_ids(self, text: str) -> list[int]:
        return self._encode(text).ids

    def decode(self, ids: Sequence[int]) -> str:
        plain = [int(index) for index in ids]
        if plain and not 0 <= min(plain) <= max(plain) < self._size:
            bad = next(index for index in plain if not 0 <= index < self._size)
            raise FormatError(f"id {bad} is outside the text vocabulary, expected 0..{self._size - 1}")
        return self._backend.decode(plain, skip_special_tokens=False)

    def save(self, directory: Path) -> None:
        self._tokenizer.save_pretrained(str(directory))

    def tokenizer_json(self) -> str:
        return json.dumps(without_specials(json.loads(self._backend.to_str())))

    def _encode(self, text: str) -> Any:
        try:
            return self._backend.encode(text, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError) as error:
            raise DataError(f"text {text[:40]!r} cannot be encoded as UTF-8: remove its lone surrogates") from error


def keep_spaces(source: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's JSON without what adds a space in front, takes one away, or leaves spaces out of offsets."""
    steps = {name: _kept(source.get(name)) for name in ("normalizer", "pre_tokenizer", "decoder")}
    return {**source, **steps, "post_processor": None}


def without_specials(source: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's JSON with special tokens as pieces that no text becomes; a unigram model keeps those it has."""
    added = source["added_tokens"]
    model = source["model"]
    if isinstance(model["vocab"], dict):
        model = {**model, "vocab": {**model["vocab"], **{entry["content"]: entry["id"] for entry in added}}}
    return {**source, "model": model, "added_tokens": [entry for entry in added if not entry["special"]]}


def _kept(step: dict[str, Any] | None) -> dict[str, Any] | None:
    """One step of a pipeline with its spaces kept; None where nothing of it stays."""
    if step is None or step["type"] in ("Prepend", "Strip"):
        return None
    if step["type"] == "Sequence":
        key = next(name for name, value in step.items() if isinstance(value, list))
        parts = [part for part in map(_kept, step[key]) if part is not None]
        return {**step, key: parts} if parts else None
    if step["type"] == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    return {**step, "add_prefix_space": False} if "add_prefix_space" in step else step
