"""`SentencePieceText`: a SentencePiece model file as text encoder. 3 million ids per second and more on one core.

The space before a word is part of the text here: " the" is one piece, "the" is what stands after no space.
SentencePiece itself adds a space in front (``add_dummy_prefix``) and drops doubled ones (``remove_extra_whitespaces``);
both are switched off when a model is loaded, whatever the file says. So for Llama 2's model ``encode(" the cat")``
gives the ids that SentencePiece gives for "the cat", and ``decode(encode(text).ids) == text`` holds for every text
without the sign U+2581 (which reads back as a space). It does not hold for models that normalise text (``nmt_nfkc``:
T5, ALBERT) unless the text is in that normal form, nor for characters unknown to a model without byte fallback.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2, sentencepiece_pb2

from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces import ExportableTextEncoder
from stlm.types import TextUnits
from stlm_bpe.conversion import SPACE, convert

MODEL = "tokenizer.model"
WORDS = re.compile(f"[ {SPACE}]*[^ {SPACE}]+|[ {SPACE}]+")
CACHED_WORDS = 400_000
CACHED_LENGTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``sentencepiece``.

    Args:
        path: a model file, or a directory with ``tokenizer.model`` (what the recipe ``bpe`` and ``save`` write).
        pieces: keep only so many pieces, 0 for all. Published speech-text models carry markers and unit literals behind
            their text pieces; cut off, a "[Hu3]" that someone writes stays text.
    """

    path: str = ""
    pieces: int = 0


def build(config: Config) -> SentencePieceText:
    model = read_model(config.path)
    return SentencePieceText(first_pieces(model, config.pieces, config.path), source=config.path)


def read_model(path: str | Path) -> bytes:
    """The bytes of a model file, given by its own path or by its directory."""
    if not path:
        raise ConfigError(
            "sentencepiece needs a model: set path to a .model file or to a directory written by "
            "`stlm train recipe=bpe`, got ''"
        )
    file = Path(path) / MODEL if Path(path).is_dir() else Path(path)
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}, expected a SentencePiece model file: check the path") from error


class SentencePieceText(ExportableTextEncoder):
    """SentencePiece with exact spaces and offsets, and a cache of words where that changes nothing.

    Args:
        model: the serialised model.
        source: where it comes from, for error messages.
    """

    def __init__(self, model: bytes, source: str = "SentencePiece model") -> None:
        self._model = model
        self._source = source
        proto = parse_model(model, source)
        self.splits_exactly = splits_at_spaces(proto)
        proto.normalizer_spec.add_dummy_prefix = False
        proto.normalizer_spec.remove_extra_whitespaces = False
        self._processor = SentencePieceProcessor(model_proto=proto.SerializeToString())
        self._size = self._processor.get_piece_size()
        self._fingerprint = hashlib.sha256(model).hexdigest()
        self._word_ids = _WordIds(self._processor)
        self._word_ends = _WordEnds(self._processor)

    def __reduce__(self) -> tuple[Any, ...]:
        return SentencePieceText, (self._model, self._source)

    @property
    def vocab_size(self) -> int:
        return self._size

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def encode(self, text: str) -> TextUnits:
        ids = self.encode_ids(text)
        offsets = self._cached_offsets(text) if self.splits_exactly else _offsets(self._processor, text)
        return TextUnits(
            ids=np.asarray(ids, dtype=np.int32).reshape(-1), char_offsets=offsets, fingerprint=self._fingerprint
        )

    def encode_ids(self, text: str) -> list[int]:
        try:
            if self.splits_exactly:
                return list(chain.from_iterable(map(self._word_ids.__getitem__, WORDS.findall(text))))
            return self._processor.encode(text)
        except (RuntimeError, UnicodeEncodeError) as error:
            raise DataError(f"text {text[:40]!r} cannot be encoded as UTF-8: remove its lone surrogates") from error

    def decode(self, ids: Sequence[int]) -> str:
        try:
            return self._processor.decode([int(index) for index in ids])
        except IndexError as error:
            bad = next(index for index in ids if not 0 <= index < self._size)
            raise FormatError(f"id {bad} is outside the text vocabulary, expected 0..{self._size - 1}") from error

    def save(self, directory: Path) -> None:
        (directory / MODEL).write_bytes(self._model)

    def tokenizer_json(self) -> str:
        return convert(parse_model(self._model, self._source), self._source).to_str()

    def _cached_offsets(self, text: str) -> np.ndarray:
        """Offsets out of the cache: within a word, plus the word's place."""
        words = WORDS.findall(text)
        ends = [self._word_ends[word] for word in words]
        starts = np.cumsum([0, *map(len, words)])[:-1]
        within = np.concatenate([np.zeros((0, 2), np.int32), *ends])
        return (within + np.repeat(starts, [len(part) for part in ends])[:, None]).astype(np.int32)


class _WordIds(dict[str, tuple[int, ...]]):
    """Ids of words, computed on first use; only short words are kept, and not without end."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        super().__init__()
        self._processor = processor

    def __missing__(self, word: str) -> tuple[int, ...]:
        ids = tuple(self._processor.encode(word))
        if len(self) < CACHED_WORDS and len(word) <= CACHED_LENGTH:
            self[word] = ids
        return ids


class _WordEnds(dict[str, np.ndarray]):
    """Character offsets ``int32[S, 2]`` within words, computed on first use."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        super().__init__()
        self._processor = processor

    def __missing__(self, word: str) -> np.ndarray:
        offsets = _offsets(self._processor, word)
        if len(self) < CACHED_WORDS and len(word) <= CACHED_LENGTH:
            self[word] = offsets
        return offsets


def _offsets(processor: SentencePieceProcessor, text: str) -> np.ndarray:
    """``int32[S, 2]`` in characters (SentencePiece counts UTF-8 bytes); the last byte of a character covers it."""
    proto = sentencepiece_pb2.SentencePieceText.FromString(processor.encode(text, out_type="serialized_proto"))
    spans = np.array([(piece.begin, piece.end) for piece in proto.pieces], dtype=np.int32).reshape(-1, 2)
    if text.isascii():
        return spans
    encoded = np.frombuffer(text.encode(), dtype=np.uint8)
    characters = np.concatenate([[0], np.cumsum((encoded & 0xC0) != 0x80)])  # characters begun before each byte
    return characters[spans].astype(np.int32)


def parse_model(model: bytes, source: str) -> Any:
    """The model as a protocol buffer message.

    Raises:
        FormatError: the bytes are something else.
    """
    proto = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(model)
    except Exception as error:
        raise FormatError(f"{source}: not a SentencePiece model ({error}), expected a .model file") from error
    if not proto.pieces:
        raise FormatError(f"{source}: not a SentencePiece model (no pieces), expected a .model file")
    return proto


def first_pieces(model: bytes, num: int, source: str) -> bytes:
    """The model without what stands behind its first `num` pieces; as it is for 0.

    Raises:
        ConfigError: it has fewer pieces.
    """
    if not num:
        return model
    proto = parse_model(model, source)
    if num < 0 or num > len(proto.pieces):
        raise ConfigError(f"{source}: pieces is {num}, expected 0 to {len(proto.pieces)}, the pieces of this model")
    del proto.pieces[num:]
    proto.trainer_spec.vocab_size = num
    return proto.SerializeToString(deterministic=True)


def splits_at_spaces(proto: Any) -> bool:
    """Whether encoding word by word gives what encoding the whole text gives.

    True for BPE models with the identity normalisation in which no piece reaches across the end of a word: merges
    within one word then cannot depend on another. The pieces are looked at, not only the training flag.
    """
    trained, normal = proto.trainer_spec, proto.normalizer_spec
    plain = trained.model_type == trained.BPE and trained.split_by_whitespace and not trained.treat_whitespace_as_suffix
    identity = not normal.precompiled_charsmap and normal.escape_whitespaces
    known_space = any(piece.piece == SPACE for piece in proto.pieces)  # unknown pieces in a row become one
    return plain and identity and known_space and not any(_crosses(piece.piece) for piece in proto.pieces)


def _crosses(piece: str) -> bool:
    return SPACE in piece.lstrip(SPACE) or " " in piece
