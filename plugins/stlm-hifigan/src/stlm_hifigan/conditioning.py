"""Which entry of which embedding table stands at each row of the units, by streams, voice, style and defaults."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stlm.errors import ConfigError, DataError, FormatError, did_you_mean
from stlm.types import AlignedUnits

logger = logging.getLogger(__name__)

UNITS, PITCH, EXPRESSIVE_STYLE, SPEAKER, STYLE = "dict", "f0_dict", "style_dict", "spkr", "style"
"""The embedding tables: units, pitch units, style units; speakers, and the named styles of a base vocoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """Names of streams, and what stands in for what is not said. The values here are the official ones.

    Args:
        stream: of units.
        pitch_stream, style_stream: that an expressive vocoder reads where they are given.
        default_voice: row of the speaker table; third of the official four.
        default_style: row of a base vocoder's style table; officially a neutral conversation.
        fallback_styles: style units of which the official tokenizer draws one where units come without style.
    """

    stream: str = "hubert"
    pitch_stream: str = "pitch"
    style_stream: str = "style"
    default_voice: int = 2
    default_style: int = 8
    fallback_styles: tuple[int, ...] = (71, 68, 98)

    @classmethod
    def of(cls, chosen: Mapping[str, Any], saved: Mapping[str, Any]) -> Defaults:
        """What is chosen, else what was saved, else the official values; empty or None is not chosen."""
        known = asdict(cls())
        picked = {key: value for key, value in chosen.items() if key in known and value not in ("", None, ())}
        kept = {key: value for key, value in saved.items() if key in known}
        merged = {**known, **kept, **picked}
        for key, official in known.items():
            value = tuple(merged[key]) if isinstance(merged[key], list) else merged[key]
            if type(value) is not type(official):
                raise FormatError(f"key {key!r} is {value!r}, expected {type(official).__name__} as in {official!r}")
            merged[key] = value
        return cls(**merged)


class Conditioning:
    """Rows of embedding tables.

    Args:
        rows: size of each table, in the order of their channels.
        voices: names of the first rows of the speaker table, or empty.
        styles: names of the first rows of the base vocoder's style table, or empty.
        defaults: what stands in for what is not said.

    Raises:
        ConfigError: a default lies outside its table.
    """

    def __init__(
        self, rows: Mapping[str, int], voices: tuple[str, ...], styles: tuple[str, ...], defaults: Defaults
    ) -> None:
        self.sizes, self.defaults = dict(rows), defaults
        self._voices, self._styles = voices, styles
        self._style_table = EXPRESSIVE_STYLE if EXPRESSIVE_STYLE in rows else STYLE
        self._check("default_voice", SPEAKER, (defaults.default_voice,))
        self._check("default_style", STYLE, (defaults.default_style,))
        self._check("fallback_styles", EXPRESSIVE_STYLE, defaults.fallback_styles)

    @property
    def voices(self) -> tuple[str, ...]:
        return self._voices or self._numbers(SPEAKER)

    @property
    def styles(self) -> tuple[str, ...]:
        return self._styles or self._numbers(self._style_table)

    @property
    def optional_streams(self) -> dict[str, str]:
        """Streams beside the units that are read where they are given, by table."""
        names = {PITCH: self.defaults.pitch_stream, EXPRESSIVE_STYLE: self.defaults.style_stream}
        return {table: stream for table, stream in names.items() if table in self.sizes}

    def rows(
        self, units: AlignedUnits, voice: str | int | None, style: str | int | None
    ) -> dict[str, np.ndarray | None]:
        """``int64[N]`` for each table, in the order of their channels; None stands for the mean of the pitch table."""
        codes = self._codes(units, UNITS, self.defaults.stream)
        constant = {**self._voice(voice), **self._style(style)}
        found: dict[str, np.ndarray | None] = {}
        for table in self.sizes:
            if table in constant:
                found[table] = np.full(len(codes), constant[table])
            else:
                found[table] = codes if table == UNITS else self._optional_codes(units, table, codes)
        return found

    def _voice(self, asked: str | int | None) -> dict[str, int]:
        if SPEAKER in self.sizes:
            asked = self.defaults.default_voice if asked is None else asked
            return {SPEAKER: self._row("voice", asked, SPEAKER, self._voices)}
        if asked is not None:
            raise ConfigError(f"this hifigan has one voice, got voice {asked!r}: omit it")
        return {}

    def _style(self, asked: str | int | None) -> dict[str, int]:
        table = self._style_table
        if asked is None:
            return {STYLE: self.defaults.default_style} if table == STYLE and STYLE in self.sizes else {}
        if table not in self.sizes:
            raise ConfigError(f"this hifigan has one style, got style {asked!r}: omit it")
        return {table: self._row("style", asked, table, self._styles)}

    def _row(self, what: str, asked: str | int, table: str, names: tuple[str, ...]) -> int:
        """Row of a table, by name or number."""
        if asked in names:
            return names.index(str(asked))
        numbers = f"a number within 0..{self.sizes[table] - 1}"
        if isinstance(asked, int) or str(asked).isdecimal():
            if 0 <= int(asked) < self.sizes[table]:
                return int(asked)
            raise ConfigError(f"hifigan has no {what} {asked}, expected {numbers}")
        known = f"{', '.join(names)}, or {numbers}" if names else numbers
        raise ConfigError(f"hifigan has no {what} {asked!r}{did_you_mean(str(asked), names)}, expected {known}")

    def _codes(self, units: AlignedUnits, table: str, stream: str) -> np.ndarray:
        """One code per row, ``int64[N]``, within the table."""
        if stream not in units.streams:
            raise DataError(f"hifigan needs stream {stream!r}, got {sorted(units.streams)}: encode it, or set stream")
        codes, size = units.streams[stream], self.sizes[table]
        if codes.ndim != 2 or codes.shape[1] != 1:
            raise FormatError(f"stream {stream!r} has shape {list(codes.shape)}, expected [N, 1]: one codebook")
        if len(codes) and int(codes.max()) >= size:
            raise FormatError(f"stream {stream!r}: code {int(codes.max())} is outside 0..{size - 1} of this vocoder")
        return codes[:, 0].astype(np.int64)

    def _optional_codes(self, units: AlignedUnits, table: str, codes: np.ndarray) -> np.ndarray | None:
        stream = self.optional_streams[table]
        if stream in units.streams:
            return self._codes(units, table, stream)
        if table == PITCH:
            logger.warning(
                "units have no stream %r: the vocoder takes the mean of its pitch table, speech is flat", stream
            )
            return None
        style = draw(self.defaults.fallback_styles, codes)
        logger.warning("units have no stream %r: the vocoder takes style %d", stream, style)
        return np.full(len(codes), style)

    def _numbers(self, table: str) -> tuple[str, ...]:
        return tuple(map(str, range(self.sizes.get(table, 0))))

    def _check(self, key: str, table: str, values: tuple[int, ...]) -> None:
        size = self.sizes.get(table)
        for value in values if size is not None else ():
            if not 0 <= value < size:
                raise ConfigError(f"hifigan: {key} is {value}, expected 0..{size - 1} for '{table}.weight': set {key}")


def draw(choices: tuple[int, ...], codes: np.ndarray) -> int:
    """One of the choices, by a hash of the units ``int64[N]`` without repetitions: durations change nothing."""
    different = np.flatnonzero(np.diff(codes, prepend=-1))
    digest = hashlib.sha256(codes[different].astype("<u2").tobytes()).digest()
    return choices[int.from_bytes(digest[:8], "little") % len(choices)]
