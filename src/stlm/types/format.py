"""A token format as data: vocabulary blocks, speech layouts, markers and text rules, usually read from YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeVar

from stlm.errors import FormatError, did_you_mean
from stlm.types.vocabulary import Block, Vocabulary

T = TypeVar("T")

AFTER_MARKER = ("space", "no_prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRule:
    """How one stream enters the token sequence.

    Args:
        stream: name of the stream and of its vocabulary block.
        rate_hz: rate by which onsets are sorted. It belongs to the format: the official expressive format sorts
            HuBERT at 24.99 Hz although the encoder runs at 25.
        dedup: keep only the first of a run of equal frames.
        anchor: the stream whose units carry time; exactly one per layout.
        carry: repeat the value in force at the start of a span, so that a short span still has pitch and style.
    """

    stream: str
    rate_hz: float
    dedup: bool = True
    anchor: bool = False
    carry: bool = True

    def __post_init__(self) -> None:
        if self.rate_hz <= 0:
            raise FormatError(f"stream {self.stream!r} needs a positive rate_hz, got {self.rate_hz}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechLayout:
    """Ordered stream rules; the order breaks ties at equal onset."""

    rules: tuple[StreamRule, ...]

    def __post_init__(self) -> None:
        anchors = [rule.stream for rule in self.rules if rule.anchor]
        if len(anchors) != 1:
            raise FormatError(f"a layout needs exactly one anchor stream, got {anchors}: set anchor: true on one rule")

    @property
    def anchor(self) -> int:
        """Index of the anchor rule."""
        return next(index for index, rule in enumerate(self.rules) if rule.anchor)

    @property
    def stream_names(self) -> tuple[str, ...]:
        return tuple(rule.stream for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerPolicy:
    """Which marker opens a stretch of text or of speech; written whenever the modality changes."""

    text: str = "[Text]"
    speech: str = "[Speech]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Everything that decides which id stands where.

    Args:
        vocabulary: the id blocks.
        layouts: named speech layouts; interleavers use "default".
        markers: marker symbols by modality.
        bos, eos, pad: ids, or None where the format has none.
        after_marker: how text starts after a marker: "space" as in running text, "no_prefix" without a leading space.
        legacy_marker_prefix: the ids of a lone space stand between the begin id and what follows. The tokenizer of the
            released Spirit LM models writes its dummy prefix there, and they were trained to see it.
    """

    vocabulary: Vocabulary
    layouts: Mapping[str, SpeechLayout]
    markers: MarkerPolicy = field(default_factory=MarkerPolicy)
    bos: int | None = None
    eos: int | None = None
    pad: int | None = None
    after_marker: Literal["space", "no_prefix"] = "space"
    legacy_marker_prefix: bool = False

    def __post_init__(self) -> None:
        for name, layout in self.layouts.items():
            for rule in layout.rules:
                if rule.stream not in self.vocabulary:
                    raise FormatError(f"layout {name!r} uses stream {rule.stream!r}, which has no vocabulary block")
        for symbol in (self.markers.text, self.markers.speech):
            self.vocabulary.id_of(symbol)
        for name, id in (("bos", self.bos), ("eos", self.eos), ("pad", self.pad)):
            if id is not None and not 0 <= id < len(self.vocabulary):
                raise FormatError(f"{name} is {id}, outside the vocabulary of {len(self.vocabulary)} ids")
        if self.after_marker not in AFTER_MARKER:
            raise FormatError(
                f"after_marker must be one of {', '.join(AFTER_MARKER)}, got {self.after_marker!r}"
                f"{did_you_mean(str(self.after_marker), AFTER_MARKER)}"
            )

    def layout(self, name: str) -> SpeechLayout:
        if name not in self.layouts:
            raise FormatError(f"no layout {name!r}, only {list(self.layouts)}{did_you_mean(name, self.layouts)}")
        return self.layouts[name]

    @property
    def speech_blocks(self) -> frozenset[str]:
        """Names of the blocks that hold speech units."""
        return frozenset(rule.stream for layout in self.layouts.values() for rule in layout.rules)

    def as_dict(self) -> dict[str, Any]:
        """Plain mapping, the inverse of `from_dict`."""
        return {
            "blocks": [block.as_dict() for block in self.vocabulary.blocks],
            "layouts": {name: [asdict(rule) for rule in layout.rules] for name, layout in self.layouts.items()},
            "markers": asdict(self.markers),
            "bos": self.bos,
            "eos": self.eos,
            "pad": self.pad,
            "after_marker": self.after_marker,
            # left out where it is off, so that the hashes of other formats do not depend on it
            **({"legacy_marker_prefix": True} if self.legacy_marker_prefix else {}),
        }

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Format:
        """Build a format from the mapping that a format YAML holds.

        Raises:
            FormatError: an unknown key, a missing block, or two anchors, by name.
        """
        known = {"blocks", "layouts", "markers", "bos", "eos", "pad", "after_marker", "legacy_marker_prefix"}
        _check_keys("format", data, known)
        vocabulary = Vocabulary(tuple(_block(entry) for entry in data.get("blocks", ())))
        layouts = {
            name: SpeechLayout(rules=tuple(_make(StreamRule, f"layout {name!r}", rule) for rule in rules))
            for name, rules in data.get("layouts", {}).items()
        }
        return cls(
            vocabulary=vocabulary,
            layouts=layouts,
            markers=_make(MarkerPolicy, "markers", data.get("markers", {})),
            bos=_special(vocabulary, data.get("bos")),
            eos=_special(vocabulary, data.get("eos")),
            pad=_special(vocabulary, data.get("pad")),
            after_marker=data.get("after_marker", "space"),
            legacy_marker_prefix=bool(data.get("legacy_marker_prefix", False)),
        )


def _block(entry: Mapping[str, Any]) -> Block:
    data = dict(entry)
    symbols = tuple(data.pop("symbols", ()) or ())
    if symbols:
        data.setdefault("size", len(symbols))
    return _make(Block, "block", {**data, "symbols": symbols})


def _make(kind: type[T], where: str, data: Mapping[str, Any]) -> T:
    _check_keys(where, data, {entry.name for entry in fields(kind)})  # pyright: ignore[reportArgumentType]
    try:
        return kind(**data)
    except TypeError as error:
        raise FormatError(f"{where}: {error}") from error


def _check_keys(where: str, data: Mapping[str, Any], known: set[str] | Sequence[str]) -> None:
    for key in data:
        if key not in known:
            raise FormatError(
                f"{where}: unknown key {key!r}{did_you_mean(str(key), known)}; known keys: {sorted(known)}"
            )


def _special(vocabulary: Vocabulary, value: int | str | None) -> int | None:
    return vocabulary.id_of(value) if isinstance(value, str) else value
