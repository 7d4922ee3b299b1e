"""Word and character error rates."""

from __future__ import annotations

from collections.abc import Sequence

from torchmetrics.text import CharErrorRate, WordErrorRate

from stlm.errors import DataError


def normalize(text: str) -> str:
    """Lower case, letters and apostrophes only, single spaces (the "librispeech" normal form)."""
    return " ".join("".join(c if c.isalpha() or c in "' " else " " for c in text.lower()).split())


def error_rates(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus-level WER and CER in per cent over normalised texts; both can exceed 100.

    Raises:
        DataError: the numbers of texts differ, or every reference is empty.
    """
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
