"""Word and character error rates, and the normal form of a text that they compare."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from stlm.errors import DataError


def normalize(text: str) -> str:
    """Lower case, letters and apostrophes only, single spaces (the "librispeech" normal form).

    Letters are those of any language, with their combining marks; a typographic apostrophe is an apostrophe.
    """
    plain = unicodedata.normalize("NFC", text.lower().replace("’", "'"))
    return " ".join("".join(c if is_letter(c) or c in "' " else " " for c in plain).split())


def is_letter(character: str) -> bool:
    """Whether it is a letter, or a mark that combines with one (the vowel signs of Hindi or Thai)."""
    return character.isalpha() or unicodedata.category(character).startswith("M")


def error_rates(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus-level WER and CER in per cent over normalised texts; both can exceed 100.

    Raises:
        DataError: the numbers of texts differ, or every reference is empty.
    """
    from torchmetrics.text import CharErrorRate, WordErrorRate

    if len(hypotheses) != len(references):
        raise DataError(f"{len(hypotheses)} hypotheses for {len(references)} references: they must be as many")
    pairs = [
        (normalize(hypothesis), normalize(reference))
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    pairs = [pair for pair in pairs if pair[1]]
    if not pairs:
        raise DataError("every reference is empty: error rates need reference texts")
    got, expected = [list(column) for column in zip(*pairs, strict=True)]
    return {
        "wer": float(WordErrorRate()(got, expected)) * 100,
        "cer": float(CharErrorRate()(got, expected)) * 100,
        "n": len(pairs),
    }
