"""One self-contained page: sound as FLAC (16 kHz, mono: exact, and every browser plays it), pictures as inline SVG.

The page refers to nothing outside itself and is a function of its figures alone: equal figures give equal bytes.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from stlm.audio import resample
from stlm.types import Audio

if TYPE_CHECKING:
    from jinja2 import Environment

SOUND_RATE = 16_000


def write_page(directory: Path, name: str, page: str, figures: Mapping[str, object]) -> None:
    """Write a page and, beside it, its figures as ``results.json``; the directory is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    # names of files need not be text; half a surrogate pair is shown as its escape
    readable = {"encoding": "utf-8", "errors": "backslashreplace"}
    (directory / "results.json").write_text(as_json(figures) + "\n", **readable)
    (directory / name).write_text(page, **readable)


def page_environment(
    package: str,
    *,
    drawings: Sequence[Callable[..., str]] = (),
    filters: Mapping[str, Callable[..., object]] | None = None,
    values: Mapping[str, object] | None = None,
) -> Environment:
    """Templates of a package, with the style and script of all pages.

    Args:
        package: that holds the templates.
        drawings: functions that return SVG; filters by their own names.
        filters: further functions.
        values: what every template sees.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    folder, here = resources.files(package), resources.files("stlm.evals.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for draw in drawings:
        environment.filters[draw.__name__] = lambda *given, draw=draw: Markup(draw(*given))
    environment.filters |= {"sound": sound_uri, "json": as_json, **(filters or {})}
    looks = {key: Markup(here.joinpath(f"page.{end}").read_text("utf-8")) for key, end in LOOKS}
    environment.globals |= {**looks, **(values or {})}
    return environment


LOOKS = (("style", "css"), ("script", "js"))


def sound_uri(audio: Audio) -> str:
    """The audio as a FLAC data URI at 16 kHz."""
    samples = np.clip(np.nan_to_num(resample(audio, SOUND_RATE).samples), -1, 1)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SOUND_RATE, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()


def plain(value: object) -> object:
    """Mappings, sequences, arrays and scalars as strict JSON has them: NaN becomes null, anything else its text."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
