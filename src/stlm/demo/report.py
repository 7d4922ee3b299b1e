"""Demo results in, `report.html` (one self-contained page) and `results.json` (the same figures) out.

Sound goes in as FLAC (16 kHz, mono: exact, and every browser plays it), pictures as inline SVG; the page refers to
nothing outside itself. Both files are a function of the results alone: equal results give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stlm.demo import pictures
from stlm.demo.pictures import CHANCE, accuracy, against_chance, arrow, interval
from stlm.demo.results import DemoResults
from stlm.evals.report.page import page_environment, plain, write_page
from stlm.evals.report.spectrogram import spectrogram_with_units

if TYPE_CHECKING:
    from jinja2 import Environment

Cells = Mapping[str, Mapping[str, object]]


def write_report(results: DemoResults, directory: Path) -> None:
    """Write `report.html` and `results.json` into the directory, which is made if need be."""
    template = _environment().get_template("report.html.j2")
    page = template.render(results=results, reading=reading(results.cloze), details=plain(results.details))
    write_page(directory, "report.html", page, figures(results))


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


def _environment() -> Environment:
    return page_environment(
        "stlm.demo",
        drawings=(spectrogram_with_units, pictures.cloze_chart, pictures.loss_curves, pictures.timing_bars),
        filters={
            "arrow": arrow,
            "row_name": pictures.row_name,
            "row_style": pictures.row_style,
            "interval": interval,
            "against_chance": against_chance,
            "duration": pictures.duration,
        },
        values={"chance": CHANCE, "directions": pictures.DIRECTIONS, "across": pictures.ACROSS},
    )
