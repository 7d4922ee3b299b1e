"""The official string format, habits included: units to ``[St71][Pi39][Hu99]`` and back, and cuts between modalities.

stlm itself works on ids; these are views for parity with strings that the official tools wrote. What they do with
malformed strings is kept exactly, so a value read back may hold garbage ("12]") that no unit has.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from stlm.errors import DataError

PREFIXES = {"style": "St", "pitch": "Pi", "hubert": "Hu"}
"""Streams in the order that breaks ties of onset."""

RATES_HZ = {"style": 1.0, "pitch": 12.5, "hubert": 24.99}
"""By which the official format sorts; the HuBERT encoder itself runs at 25."""

LEGACY_STYLES = ("71", "68", "98")
"""Of which one is drawn where a string has pitch and no style."""

MARKERS = ("[Text]", "[Speech]")
STARTS = ("[Hu", "[Pi", "[St")
RUN = re.compile(r"(?:\[(?:Hu|Pi|St)\d+\])+")


def units_to_string(units: Mapping[str, Sequence[int]]) -> str:
    """Frame-level units of one to three streams as one string; runs of equal HuBERT and pitch units are one."""
    events = [
        (index / RATES_HZ[name], f"[{prefix}{code}]")
        for name, prefix in PREFIXES.items()
        for index, code in enumerate(units.get(name, ()))
        if name == "style" or index == 0 or units[name][index - 1] != code
    ]
    return "".join(text for _, text in sorted(events, key=lambda event: event[0]))


def string_to_units(
    text: str, *, legacy_duplicate_hubert: bool = False, rng: random.Random | None = None
) -> dict[str, str]:
    """Units of a string, space-joined and all of one length; pitch and style are held over the HuBERT units.

    Args:
        text: any string; what is no unit is passed over.
        legacy_duplicate_hubert: a pitch right after a pitch repeats the HuBERT unit before it.
        rng: draws the style where there is pitch and no style; seeded with 0 if left out.

    Raises:
        DataError: `legacy_duplicate_hubert`, and there is no HuBERT unit to repeat.
    """
    rows = _rows(text, duplicate=legacy_duplicate_hubert)
    kinds = [kind for kind, _ in _items(text)]
    columns = {"hubert": [hubert for hubert, _, _ in rows]}
    if "Pi" in kinds:
        columns["pitch"] = _filled([pitch for _, pitch, _ in rows], _first(text, "Pi"))
    if "St" in kinds:
        columns["style"] = _filled([style for _, _, style in rows], _first(text, "St"))
    elif "Pi" in kinds:
        columns["style"] = [(rng or random.Random(0)).choice(LEGACY_STYLES)] * len(rows)
    known = next((hubert for hubert in columns["hubert"] if hubert is not None), None)
    if known is None and columns["hubert"]:
        raise DataError(f"{text[:60]!r} repeats a HuBERT unit, expected one to be there: it has pitch only")
    columns["hubert"] = _filled(columns["hubert"], known)
    return {name: " ".join(map(str, values)) for name, values in columns.items()}


def _items(text: str) -> list[tuple[str, str]]:
    """Kind and value of whatever looks like a unit; the last character of an item is taken for its bracket."""
    pieces = (piece for piece in text.split("[") if len(piece) > 2)
    return [(piece[:2], piece[2:-1]) for piece in pieces if piece[:2] in PREFIXES.values() and piece[2].isdigit()]


def _rows(text: str, *, duplicate: bool) -> list[tuple[str | None, str | None, str | None]]:
    rows: list[tuple[str | None, str | None, str | None]] = []
    hubert = pitch = style = None
    after_pitch = False
    for kind, value in _items(text):
        if kind == "Hu":
            hubert, after_pitch = value, False
            rows.append((hubert, pitch, style))
        elif kind == "Pi":
            pitch = value
            if after_pitch and duplicate:
                rows.append((hubert, pitch, style))
            after_pitch = True
        else:
            style = value
    return rows


def _first(text: str, kind: str) -> str:
    return next(value for found, value in _items(text) if found == kind)


def _filled(values: Sequence[str | None], first: str | None) -> list[str | None]:
    return [first if value is None else value for value in values]


def split_modalities(text: str) -> list[tuple[str, str]]:
    """Stretches of a string as ``(stretch, "s" or "t")``; markers vanish and do not end a stretch of the same kind."""
    chunks: list[tuple[list[str], str]] = []
    position = 0
    while position < len(text):
        marker = next((marker for marker in MARKERS if text.startswith(marker, position)), None)
        if marker is not None:
            position += len(marker)
            continue
        is_speech = text.startswith(STARTS, position)
        end = text.find("]", position) + 1 if is_speech else position + 1
        end = end or len(text)
        kind = "s" if is_speech else "t"
        if not chunks or chunks[-1][1] != kind:
            chunks.append(([], kind))
        chunks[-1][0].append(text[position:end])
        position = end
    return [("".join(parts), kind) for parts, kind in chunks]


def ends_with_speech(text: str) -> bool:
    """Whether a prompt ends in a unit, as the official test looks at its last eleven characters."""
    opening = text.rfind("[", max(0, len(text) - 11)) if len(text) > 4 and text.endswith("]") else -1
    return opening >= 0 and text.startswith(STARTS, opening)


def starts_with_speech(text: str) -> bool:
    """Whether new text starts with a unit of at most eleven characters."""
    return len(text) > 4 and text.startswith(STARTS) and 4 <= text.find("]") <= 10


def last_speech_start(text: str) -> int | None:
    """Where the last run of well-formed units starts; None without any."""
    runs = [found.start() for found in RUN.finditer(text)]
    return runs[-1] if runs else None


def count_hubert(text: str) -> int:
    """Number of HuBERT units, well-formed or not."""
    return text.count("[Hu")


def to_integers(units: str) -> list[int]:
    """Space-joined units as numbers.

    Raises:
        DataError: one of them is no number.
    """
    values = units.split()
    bad = next((value for value in values if not value.isdigit()), None)
    if bad is not None:
        raise DataError(f"unit {bad!r} is no number: the string that it was read from is malformed")
    return list(map(int, values))
