"""Units in files: strings for people, JSON for scripts, npz for arrays.

A file may hold several recordings, one a line, an empty line for one that is too short for a unit. JSON and npz say
which encoder made the units, so that another system does not speak them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Document, SpeechSpan, StreamSpec, Units, as_codes

ORIGIN = "stlm.streams"
"""The array of an npz that holds frame rate and fingerprint of each stream, as JSON."""


def write_units(codec: Codec, spans: Sequence[tuple[str, SpeechSpan]], form: str, out: Path | None) -> str | None:
    """Write the units of named recordings, in order; returns the text if no file was named.

    Raises:
        ConfigError: npz without a file.
    """
    if form == "npz":
        if out is None or out.suffix != ".npz":
            raise ConfigError(f"--as npz needs --out FILE.npz, got {out}")
        arrays = {f"{name}/{stream}": units.codes for name, span in spans for stream, units in span.streams.items()}
        origin = {stream: _origin(units.spec) for _, span in spans for stream, units in span.streams.items()}
        np.savez_compressed(out, **arrays, **{ORIGIN: np.array(json.dumps(origin))})  # pyright: ignore
        return None
    lines = [codec.to_string((span,)) if form == "string" else json.dumps(as_json(name, span)) for name, span in spans]
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
                **_origin(units.spec),
                "codes": (units.codes[:, 0] if units.codes.shape[1] == 1 else units.codes).tolist(),
            }
            for stream, units in span.streams.items()
        },
    }


def _origin(spec: StreamSpec) -> dict[str, Any]:
    """What must be equal for units to mean the same."""
    return {"frame_rate_hz": spec.frame_rate_hz, "fingerprint": spec.fingerprint}


def read_units(codec: Codec, given: str, index: int | None = None) -> Document:
    """Units from a string, or from a file that `stlm encode` wrote.

    Args:
        codec: of the system that is to speak them.
        given: a unit string, or the name of a file.
        index: which recording, from 0; None where there is one.

    Raises:
        DataError: there is no such file, recording or unit, or it is none of ours.
        FormatError: another encoder made the units.
        ConfigError: there are several recordings and no index.
    """
    source = _Source(given, index)
    if Path(given).suffix == ".npz":
        return (_from_npz(codec, source),)
    line = source.choose(_lines(given))
    return (_from_json(codec, line, source),) if line.lstrip().startswith("{") else _from_string(codec, line, source)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where units come from, for messages, and which recording of it is wanted."""

    given: str
    index: int | None

    def __str__(self) -> str:
        return self.given[:60] or "the input"

    def choose(self, recordings: Sequence[Any]) -> Any:
        if self.index is None and len(recordings) > 1:
            raise ConfigError(f"{self} holds {len(recordings)} recordings: choose one with --index 0 and so on")
        index = self.index or 0
        if not 0 <= index < len(recordings):
            raise DataError(f"{self}: no recording {index}, it holds {len(recordings)}, counted from 0")
        return recordings[index]


def _lines(given: str) -> list[str]:
    """The lines of a file, or a unit string itself; what ends like a file name is one."""
    path = Path(given)
    try:
        if not re.fullmatch(r"\.[A-Za-z]\w*", path.suffix) and not path.is_file():
            return [given.strip()]
        text = path.read_text()
    except OSError as error:  # a long unit string is no file name
        if not path.suffix:
            return [given.strip()]
        raise DataError(f"{path}: cannot be read ({error.strerror}), expected a file of units") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text, expected units as stlm encode writes them") from error
    lines = text.splitlines()
    return [line for line in lines if line.strip()] if text.lstrip().startswith("{") else lines


def _span(codec: Codec, streams: Mapping[str, Mapping[str, Any]], where: _Source) -> SpeechSpan:
    """A span of streams given as codes with their origin, as far as it is known."""
    found = {}
    for name, item in streams.items():
        if name not in codec.streams:
            raise DataError(f"{where}: stream {name!r} is not one of this system's: {sorted(codec.streams)}")
        spec = codec.streams[name]
        for key, own in _origin(spec).items():
            if item.get(key, own) != own:
                raise FormatError(
                    f"{where}: stream {name!r} has {key} {item[key]!r}, this system's has {own!r}: encode the audio "
                    "with the system that is to speak it"
                )
        try:
            codes = as_codes(item["codes"])
        except DataError as error:
            raise DataError(f"{where}: stream {name!r}: {error}") from error
        if len(codes) and codes.shape[1] != spec.num_codebooks:
            raise DataError(
                f"{where}: stream {name!r} has {codes.shape[1]} codes a frame, expected {spec.num_codebooks}"
            )
        found[name] = Units(spec=spec, codes=codes.reshape(-1, spec.num_codebooks))
        found[name].check_range()
    if not any(map(len, found.values())):
        raise DataError(f"{where}: no units in it: the recording was too short for one")
    return SpeechSpan(streams=found)


def _from_json(codec: Codec, line: str, where: _Source) -> SpeechSpan:
    try:
        streams = {name: {**item, "codes": _whole(item["codes"])} for name, item in json.loads(line)["streams"].items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{where}: not units as stlm encode --as json writes them ({error})") from error
    return _span(codec, streams, where)


def _whole(codes: Any) -> Any:
    """Lists of whole numbers, unchanged; NumPy would take 1.0 and true for 1."""
    if isinstance(codes, list):
        return [_whole(item) for item in codes]
    if type(codes) is not int:
        raise TypeError(f"codes are whole numbers, got {json.dumps(codes)}")
    return codes


def _from_npz(codec: Codec, where: _Source) -> SpeechSpan:
    path = Path(where.given)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            origin = json.loads(str(data[ORIGIN])) if ORIGIN in data.files else {}
            places = [name.rpartition("/") for name in data.files if name != ORIGIN]
            audio = where.choose(list(dict.fromkeys(name for name, _, _ in places)))
            streams = {
                stream: {**origin.get(stream, {}), "codes": data[f"{name}/{stream}"]}
                for name, _, stream in places
                if name == audio
            }
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file, expected units: check the path") from error
    except (OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, BadZipFile, ZlibError) as error:
        raise DataError(f"{path}: not units as stlm encode --as npz writes them ({error})") from error
    return _span(codec, streams, where)


def _from_string(codec: Codec, line: str, where: _Source) -> Document:
    """Units of a string that is nothing but symbols of units, as `Codec.to_string` shows them."""
    vocabulary = codec.format.vocabulary
    ids = {}
    for name in sorted(codec.format.speech_blocks):
        start, block = vocabulary.offset(name), vocabulary.block(name)
        ids.update({block.show(index): start + index for index in range(block.num_ids)})
    lengths = sorted(set(map(len, ids)), reverse=True)
    found, rest = [], line.replace(" ", "").strip()
    at = 0
    while at < len(rest):
        symbol = next((rest[at : at + length] for length in lengths if rest[at : at + length] in ids), None)
        if symbol is None:
            example = next(iter(ids), "")
            raise DataError(f"{where}: {rest[at : at + 20]!r} is no unit of this system; units look like {example!r}")
        found.append(ids[symbol])
        at += len(symbol)
    if not found:
        raise DataError(f"{where}: no units in it")
    return codec.decode(found)
