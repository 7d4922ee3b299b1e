"""A SentencePiece model as a `tokenizers.Tokenizer` of equal ids, for tools that read ``tokenizer.json``.

In: the model as a protocol buffer message. Out: the same pieces, normalisation and byte fallback; no space is put in
front or taken away, as `SentencePieceText` has it. Cost: some seconds for 32,000 pieces.
"""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from stlm.errors import FormatError

SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""Types of pieces in a model file."""


def convert(proto: Any, source: str) -> Tokenizer:
    """The tokenizer of a model.

    Args:
        proto: the model.
        source: where it comes from, for error messages.

    Raises:
        FormatError: it is neither a BPE nor a unigram model.
    """
    tokenizer = Tokenizer(_model(proto, source))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    own = [normalizers.Precompiled(charsmap)] if charsmap else []
    tokenizer.normalizer = normalizers.Sequence([*own, normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    symbols = [piece.piece for piece in proto.pieces if piece.type == USER_DEFINED]
    tokenizer.add_tokens([AddedToken(symbol, normalized=True) for symbol in symbols])
    return tokenizer


def _model(proto: Any, source: str) -> models.Model:
    trained = proto.trainer_spec
    if trained.model_type == trained.BPE:
        unknown = next((piece.piece for piece in proto.pieces if piece.type == UNKNOWN), None)
        return models.BPE(
            vocab={piece.piece: index for index, piece in enumerate(proto.pieces)},
            merges=_merges(proto),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=trained.byte_fallback,
        )
    if trained.model_type == trained.UNIGRAM:
        return models.Unigram(
            [(_hidden(piece, index), piece.score) for index, piece in enumerate(proto.pieces)],
            unk_id=trained.unk_id,
            byte_fallback=trained.byte_fallback,
        )
    raise FormatError(f"{source}: its pieces are words or characters, expected a BPE or unigram model to convert")


def _merges(proto: Any) -> list[tuple[str, str]]:
    """Every way to make a piece of two others, the best pieces first; control symbols and bytes are never made."""
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    pairs = [
        (score, piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    return [(left, right) for _, left, right in sorted(pairs, key=lambda pair: -pair[0])]


def _hidden(piece: Any, index: int) -> str:
    """A unigram model finds every piece in text, also "<s>": control symbols get a name that text cannot hold."""
    return f"{piece.piece} {index}" if piece.type in (UNKNOWN, CONTROL) else piece.piece
