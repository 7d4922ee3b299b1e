"""Units in files: strings for people, JSON for scripts, npz for arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError
from stlm.types import Document, SpeechSpan, TextSpan, Units, as_codes


def write_units(codec: Codec, spans: Mapping[str, SpeechSpan], form: str, out: Path | None) -> str | None:
    """Write the units of named recordings; returns the text if no file was named.

    Raises:
        ConfigError: npz without a file.
    """
    if form == "npz":
        if out is None:
            raise ConfigError("--as npz needs --out FILE.npz")
        np.savez_compressed(
            out, **{f"{name}/{s}": u.codes for name, span in spans.items() for s, u in span.streams.items()}
        )
        return None
    lines = [
        codec.to_string((span,)) if form == "string" else json.dumps(as_json(name, span))
        for name, span in spans.items()
    ]
    text = "\n".join(lines) + "\n"
    if out is None:
        return text
    out.write_text(text)
    return None


def as_json(name: str, span: SpeechSpan) -> dict[str, Any]:
    """Frame-level units of one recording as plain values."""
    return {
        "audio": name,
        "streams": {
            stream: {
                "frame_rate_hz": units.spec.frame_rate_hz,
                "fingerprint": units.spec.fingerprint,
                "codes": (units.codes[:, 0] if units.codes.shape[1] == 1 else units.codes).tolist(),
            }
            for stream, units in span.streams.items()
        },
    }


def read_units(codec: Codec, given: str) -> Document:
    """Units from a string, or from a file that `stlm encode` wrote (its first recording).

    Raises:
        DataError: there is no unit in it, or the file is none of ours.
    """
    path = Path(given)
    if path.suffix == ".npz":
        return (_from_npz(codec, path),)
    text = path.read_text() if _is_file(path) else given
    if text.lstrip().startswith("{"):
        return (_from_json(codec, text.splitlines()[0], given),)
    return _from_string(codec, text, given)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long unit string is no file name
        return False


def _span(codec: Codec, streams: Mapping[str, Any], where: str) -> SpeechSpan:
    unknown = [name for name in streams if name not in codec.streams]
    if unknown:
        raise DataError(f"{where}: stream {unknown[0]!r} is not one of this system's: {sorted(codec.streams)}")
    found = {name: Units(spec=codec.streams[name], codes=as_codes(codes)) for name, codes in streams.items()}
    for units in found.values():
        units.check_range()
    return SpeechSpan(streams=found)


def _from_json(codec: Codec, line: str, where: str) -> SpeechSpan:
    try:
        streams = {name: item["codes"] for name, item in json.loads(line)["streams"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: not units as stlm encode --as json writes them ({error})") from error
    return _span(codec, streams, where)


def _from_npz(codec: Codec, path: Path) -> SpeechSpan:
    try:
        with np.load(path, allow_pickle=False) as data:
            first = next(iter(data.files)).rsplit("/", 1)[0]
            streams = {name.rsplit("/", 1)[1]: data[name] for name in data.files if name.rsplit("/", 1)[0] == first}
    except (OSError, ValueError, StopIteration, IndexError) as error:
        raise DataError(f"{path}: not units as stlm encode --as npz writes them ({error})") from error
    return _span(codec, streams, str(path))


def _from_string(codec: Codec, text: str, where: str) -> Document:
    """Units of a string in which every token is a unit's symbol, as `Codec.to_string` shows them."""
    vocabulary = codec.format.vocabulary
    ids = {}
    for name in sorted(codec.format.speech_blocks):
        start, block = vocabulary.offset(name), vocabulary.block(name)
        ids.update({block.show(index): start + index for index in range(block.num_ids)})
    found, line = [], text.strip().splitlines()[0] if text.strip() else ""
    for symbol in (part + "]" for part in line.replace(" ", "").split("]") if part):
        if symbol not in ids:
            example = next(iter(ids), "")
            raise DataError(f"{where[:60]}: {symbol!r} is no unit of this system; units look like {example!r}")
        found.append(ids[symbol])
    if not found:
        raise DataError(f"{where[:60] or 'the input'}: no units in it")
    document = codec.decode(found)
    assert not any(isinstance(span, TextSpan) for span in document)
    return document
