"""The list of inputs that preparation could not use, counted by reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stlm.errors import DataError

QUARANTINE = "quarantine.jsonl"
SINGLE = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d[\d.,:]*")
"""Quoted words and numbers: they differ from input to input and would make each a reason of its own."""


@dataclass(slots=True, kw_only=True)
class Reason:
    """Notes of one kind.

    Args:
        reason: their text, with … for what differs.
        kept_as: what could still be used; None if nothing could.
        example: id of the first.
        num: how many there are.
    """

    reason: str
    kept_as: str | None
    example: str
    num: int = 0


def reasons(path: Path) -> list[Reason]:
    """The notes of a quarantine list by reason, the most frequent first.

    Raises:
        DataError: a line is no note.
    """
    found: dict[tuple[str, str | None], Reason] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                note = json.loads(line)
                reason = _text(_general(note["reason"], [note["uri"], note["id"]]))
                one = Reason(reason=reason, kept_as=note["kept_as"], example=_text(note["id"]))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{path}:{number}: is no note of a rejected input ({error}): prepare again") from error
            found.setdefault((reason, one.kept_as), one).num += 1
    return sorted(found.values(), key=lambda reason: -reason.num)


def _general(reason: str, names: Iterable[str | None]) -> str:
    """The reason without what differs from input to input: longer names first, as an id is often a part of a path."""
    for name in names:
        if name:
            reason = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", reason.removeprefix(f"{name}: "))
    return SINGLE.sub("…", reason)


def _text(found: str) -> str:
    """JSON can hold half of a surrogate pair, which no terminal shows."""
    return found.encode(errors="backslashreplace").decode()
