"""Timed words placed in the text that was written: its spelling, case, numbers and punctuation stay.

Aligners change words: lower case, clitics apart ("don" "'t"), numbers spelled out, unknown words as ``<unk>``. Both
sides are reduced to letters and digits and compared word by word; what differs is settled within the gap between words
that agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from stlm.errors import DataError
from stlm.prepare.alignments import TimedWord

UNKNOWN = {"spn", "<unk>", "<spn>", "[unk]"}
"""What stands for a word that the aligner does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A word of the text with its times.

    Args:
        start, end: seconds.
        char_start, char_end: place in the text, without surrounding punctuation.
        score: lowest of what was joined, or None.
    """

    start: float
    end: float
    char_start: int
    char_end: int
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    key: str
    char_start: int
    char_end: int


def placed(words: Sequence[TimedWord], text: str) -> list[Placed]:
    """Each timed word at its place in the text; words of the text without times are left out.

    Raises:
        DataError: a timed word is not in the text at its place.
    """
    tokens = _tokens(text)
    labels = [_key(word.label) for word in words]
    matcher = SequenceMatcher(None, labels, [token.key for token in tokens], autojunk=False)
    found: list[Placed] = []
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(words[first:last], tokens[begin:end], strict=True)
            found += [_join([word], [token]) for word, token in pairs]
        elif first < last:
            found += _settle(words[first:last], tokens[begin:end], found[-1].char_end if found else 0)
    return found


def _settle(words: Sequence[TimedWord], tokens: Sequence[_Token], after: int) -> list[Placed]:
    """Words and tokens between agreement: unknown words, parts and compounds, and numbers."""
    found: list[Placed] = []
    at = 0
    for place, token in enumerate(tokens):
        if at == len(words):
            break
        if words[at].label.lower() in UNKNOWN:
            found.append(_join([words[at]], [token]))
            at += 1
            continue
        joined = _matching([_key(word.label) for word in words[at:]], token.key)
        if joined:
            found.append(_join(words[at : at + joined], [token]))
            at += joined
        elif over := _matching([other.key for other in tokens[place:]], _key(words[at].label)):
            return [
                *found,
                _join([words[at]], tokens[place : place + over]),
                *_settle(words[at + 1 :], tokens[place + over :], tokens[place + over - 1].char_end),
            ]
        elif place == len(tokens) - 1 and any(letter.isdigit() for letter in token.key):
            found.append(_join(words[at:], [token]))
            at = len(words)
    if at < len(words):
        raise DataError(
            f"word {words[at].label!r} does not occur in the text after character "
            f"{found[-1].char_end if found else after}: word times and text must hold the same words in the same order"
        )
    return found


def _matching(parts: Sequence[str], whole: str) -> int:
    """How many of the first parts make the whole; 0: none do."""
    joined = ""
    for count, part in enumerate(parts, 1):
        joined += part
        if joined == whole:
            return count
        if not whole.startswith(joined):
            return 0
    return 0


def _join(words: Sequence[TimedWord], tokens: Sequence[_Token]) -> Placed:
    scores = [word.score for word in words if word.score is not None]
    return Placed(
        start=words[0].start,
        end=words[-1].end,
        char_start=tokens[0].char_start,
        char_end=tokens[-1].char_end,
        score=min(scores, default=None),
    )


def _tokens(text: str) -> list[_Token]:
    """Words of the text without the punctuation around them; signs alone are none."""
    found = []
    for match in re.finditer(r"\S+", text):
        inside = [match.start() + at for at, letter in enumerate(match.group()) if letter.isalnum()]
        if inside:
            first, last = inside[0], inside[-1] + 1
            found.append(_Token(key=_key(text[first:last]), char_start=first, char_end=last))
    return found


def _key(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
