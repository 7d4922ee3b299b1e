"""Cutting an utterance into spans, shared by all policies."""

from __future__ import annotations

import numpy as np

from stlm.errors import DataError
from stlm.interfaces.interleaver import WORD_FIELDS, Interleaver
from stlm.types import SpeechSpan, TextSpan, TextUnits, Utterance, Word


class WordPolicy(Interleaver):
    """A policy over aligned words: it needs text, word times and units."""

    @property
    def reads(self) -> frozenset[str]:
        return WORD_FIELDS

    def accepts(self, utterance: Utterance) -> bool:
        return bool(utterance.words) and utterance.has_speech and utterance.text is not None


def words_of(utterance: Utterance, policy: Interleaver) -> tuple[Word, ...]:
    """The utterance's words, or a DataError that says what the policy needs."""
    if not policy.accepts(utterance):
        raise DataError(
            f"{utterance.id}: {type(policy).__name__} needs text, units and word times, got "
            f"text: {utterance.text is not None}, units: {sorted(utterance.streams)}, words: {len(utterance.words)}"
        )
    return utterance.words


def speech_span(utterance: Utterance, first_word: int, last_word: int, layout: str) -> SpeechSpan:
    """Words ``first:last`` as speech."""
    return SpeechSpan(streams=utterance.slice(first_word, last_word), layout=layout)


def whole_speech(utterance: Utterance, layout: str) -> SpeechSpan:
    """The whole utterance as speech."""
    return SpeechSpan(streams=utterance.streams, layout=layout)


def text_span(utterance: Utterance, start: int, end: int) -> TextSpan:
    """Characters ``start:end`` as text, with their subword ids where there are any and none straddles a cut."""
    text = (utterance.text or "")[start:end]
    return TextSpan(text=text, units=_cut_units(utterance.text_units, start, end))


def whole_text(utterance: Utterance) -> TextSpan:
    """The whole text."""
    return TextSpan(text=utterance.text or "", units=utterance.text_units)


def _cut_units(units: TextUnits | None, start: int, end: int) -> TextUnits | None:
    if units is None:
        return None
    first, last = np.searchsorted(units.char_offsets[:, 0], [start, end])
    straddles = first > 0 and units.char_offsets[first - 1, 1] > start
    if straddles or (last > first and units.char_offsets[last - 1, 1] > end):
        return None
    return TextUnits(
        ids=units.ids[first:last],
        char_offsets=units.char_offsets[first:last] - start,
        fingerprint=units.fingerprint,
    )
