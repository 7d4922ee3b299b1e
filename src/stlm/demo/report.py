"""Demo results in, `report.html` (one self-contained page) and `results.json` (the same figures) out.

Sound goes in as FLAC (16 kHz, mono: exact, and every browser plays it), pictures as inline SVG; the page refers to
nothing outside itself. Both files are a function of the results alone: equal results give equal bytes.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from stlm.audio import resample
from stlm.demo import pictures
from stlm.demo.pictures import CHANCE, accuracy, against_chance, arrow, interval
from stlm.demo.results import DemoResults
from stlm.types import Audio

if TYPE_CHECKING:
    from jinja2 import Environment

SOUND_RATE = 16_000
Cells = Mapping[str, Mapping[str, object]]


def write_report(results: DemoResults, directory: Path) -> None:
    """Write `report.html` and `results.json` into the directory, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    # names of files need not be text; half a surrogate pair is shown as its escape
    readable = {"encoding": "utf-8", "errors": "backslashreplace"}
    (directory / "results.json").write_text(as_json(figures(results)) + "\n", **readable)
    template = _environment().get_template("report.html.j2")
    page = template.render(results=results, reading=reading(results.cloze), details=plain(results.details))
    (directory / "report.html").write_text(page, **readable)


def figures(results: DemoResults) -> dict[str, object]:
    """Every figure of the page as plain values."""
    return {
        "title": results.title,
        "disclaimer": results.disclaimer,
        "facts": [{"label": label, "value": value} for label, value in results.facts],
        "cloze": plain(results.cloze),
        "other_tasks": plain(results.other_tasks),
        "recognition": plain(results.recognition),
        "losses": {
            row: {"last": pictures.last_losses(points), "curve": plain(points)}
            for row, points in results.losses.items()
        },
        "timings": plain(results.timings),
        "notes": list(results.notes),
        "details": plain(results.details),
    }


def reading(cloze: Mapping[str, Cells]) -> tuple[str, str]:
    """What the cloze figures say about transfer between modalities: a verdict and its evidence, also when it is bad.

    "Clearly better" means that two 95 % intervals do not overlap, which is stricter than a test of the difference.
    """
    mixed, apart = cloze.get("interleaved", {}), cloze.get("no_interleaving", {})
    across = [name for name in pictures.ACROSS if name in mixed]
    if not across:
        return ("", "")
    learned = [name for name in across if against_chance(mixed[name]) > 0]
    better = [name for name in learned if name in apart and interval(mixed[name])[0] > interval(apart[name])[1]]
    evidence = _join([_figure(name, mixed, apart) for name in across])
    inside = [_figure(name, mixed, apart) for name in ("T->T", "S->S") if name in mixed]
    evidence += f"; within one modality {_join(inside)}." if inside else "."
    return (_verdict(across, learned, better, compared=any(name in apart for name in across)), evidence)


def _verdict(across: list[str], learned: list[str], better: list[str], compared: bool) -> str:
    names = {True: "in both directions", False: f"in {_join([arrow(name) for name in better or learned])} only"}
    whole = len(better or learned) == len(across) > 1
    if better:
        return (
            f"Interleaving makes the model transfer across modalities, {names[whole]}: "
            "the intervals with and without it do not overlap."
        )
    if learned and compared:
        return (
            f"Above chance across modalities {names[whole]}, but not clearly better than without interleaving: "
            "this run does not show that interleaving is the cause."
        )
    if learned:
        return f"Above chance across modalities {names[whole]}; there is no run without interleaving to compare with."
    return "No transfer across modalities in this run: no interval lies above chance."


def _figure(direction: str, mixed: Cells, apart: Cells) -> str:
    without = f" ({_percent(apart[direction])} without interleaving)" if direction in apart else ""
    return f"{arrow(direction)} {_percent(mixed[direction])}{without}"


def _percent(cell: Mapping[str, object]) -> str:
    return f"{accuracy(cell):.1f}\N{NO-BREAK SPACE}%"


def _join(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


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


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    folder = resources.files("stlm.demo")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawings = (
        pictures.spectrogram_with_units,
        pictures.cloze_chart,
        pictures.loss_curves,
        pictures.timing_bars,
    )
    for draw in drawings:
        environment.filters[draw.__name__] = lambda *values, draw=draw: Markup(draw(*values))
    environment.filters |= {
        "sound": sound_uri,
        "json": as_json,
        "arrow": arrow,
        "row_name": pictures.row_name,
        "row_style": pictures.row_style,
        "interval": interval,
        "against_chance": against_chance,
        "duration": pictures.duration,
    }
    environment.globals |= {"chance": CHANCE, "directions": pictures.DIRECTIONS, "across": pictures.ACROSS}
    return environment
