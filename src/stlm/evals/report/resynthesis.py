"""Resynthesis rows in, ``report.html`` with players and ``results.json``, ``items.jsonl`` out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import numpy as np

from stlm.audio import resample
from stlm.evals.report.drawing import Axis, svg, ticks_between
from stlm.evals.report.page import page_environment, plain, write_page
from stlm.evals.report.spectrogram import spectrogram_with_units
from stlm.evals.resynthesis import PROTOCOL, TRACKER, Copy, Figure, Row
from stlm.learn.f0_error import yin
from stlm.types import Audio, Utterance

COLUMNS = (
    ("bitrate", "Bitrate", "bits a second", -1),
    ("wer", "WER", "words, lower is better", -1),
    ("cer", "CER", "characters, lower is better", -1),
    *(
        (f"ffe_{name}", "F0 frame error", f"YIN from {floor:g} Hz, lower is better", -1)
        for name, floor in PROTOCOL.items()
    ),
    (f"ffe_{TRACKER}", "F0 frame error", "pitch tracker, lower is better", -1),
    ("style", "Style", "accuracy, higher is better", 1),
)
"""Key, name, unit, and whether more is better (1) or worse (-1)."""
PITCH_FLOOR_HZ = 50.0
PITCH_HEIGHT = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One recording to listen to: what it says, and the original and all copies of it."""

    title: str
    text: str | None
    copies: Sequence[tuple[str, Copy]]


def write_resynthesis(
    rows: Sequence[Row],
    recordings: Sequence[Utterance],
    directory: Path,
    *,
    num_examples: int,
    facts: Sequence[tuple[str, str]],
    details: Mapping[str, object],
) -> None:
    """Write the page, the figures and what each recording scored."""
    chosen = np.linspace(0, len(recordings) - 1, min(num_examples, len(recordings))).round().astype(int).tolist()
    examples = [
        Example(
            title=_title(recordings[at]),
            text=recordings[at].text,
            copies=[(row.name, row.copies[at]) for row in rows],
        )
        for at in chosen
    ]
    found = {row.name: _cells(row) for row in rows}
    columns = [column for column in COLUMNS if any(column[0] in cells for cells in found.values())]
    environment = page_environment("stlm.evals.report", drawings=(spectrogram_with_units, pitch_contours))
    page = environment.get_template("resynthesis.html.j2").render(
        rows=found, columns=columns, examples=examples, facts=facts, details=plain(details), n=len(recordings)
    )
    figures = {"systems": plain({name: _plain(cells) for name, cells in found.items()}), "details": plain(details)}
    write_page(directory, "report.html", page, figures)
    with (directory / "items.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            for utterance, copy in zip(recordings, row.copies, strict=True):
                file.write(json.dumps(_item(row.name, utterance, copy), ensure_ascii=False) + "\n")


def _title(utterance: Utterance) -> str:
    about = [utterance.speaker, *utterance.labels.values()]
    return f"{utterance.id} ({', '.join(item for item in about if item)})" if any(about) else utterance.id


def _cells(row: Row) -> dict[str, Figure]:
    rate = {"bitrate": Figure(value=row.bitrate, ci95=(row.bitrate, row.bitrate), n=0)} if row.bitrate else {}
    return {**rate, **row.figures}


def _plain(cells: Mapping[str, Figure]) -> dict[str, object]:
    return {name: asdict(figure) for name, figure in cells.items()}


def _item(system: str, utterance: Utterance, copy: Copy) -> dict[str, object]:
    return {
        "system": system,
        "id": utterance.id,
        "text": utterance.text,
        "heard": copy.heard,
        "word_errors": copy.word_errors,
        "words": copy.words,
        "character_errors": copy.character_errors,
        "characters": copy.characters,
        "f0_error": copy.f0_error,
        "label": copy.label,
    }


def pitch_contours(copies: Sequence[tuple[str, Copy]]) -> str:
    """F0 of the original and of each system over time, on a logarithmic axis; gaps are unvoiced."""
    contours = {name: _pitch(copy.audio) for name, copy in copies if copy.audio.num_samples}
    heard = [values[values[:, 1] > 0] for values in contours.values()]
    if not any(map(len, heard)):
        return ""
    hertz = np.concatenate([values[:, 1] for values in heard])
    across = Axis(low=0.0, high=max(copy.audio.seconds for _, copy in copies))
    up = Axis(low=float(hertz.min()) * 0.9, high=float(hertz.max()) * 1.1, log=True)
    parts = []
    for tick in up.ticks():
        y = PITCH_HEIGHT * (1 - up.percent(tick) / 100)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="-6" y="{y + 4:.1f}">{tick:g} Hz</text>')
    for tick in ticks_between(0, across.high * 0.97, 6):
        parts.append(f'<text class="tick" x="{across.percent(tick):.2f}%" y="{PITCH_HEIGHT + 16}">{tick:g} s</text>')
    for index, (name, contour) in enumerate(contours.items()):
        dots = "".join(
            f'<circle cx="{across.percent(time):.3f}%" cy="{PITCH_HEIGHT * (1 - up.percent(f0) / 100):.2f}" r="2"/>'
            for time, f0 in contour
            if f0 > 0
        )
        parts.append(f'<g class="row-{(index - 1) % 4 if index else "none"}"><title>{escape(name)}</title>{dots}</g>')
    return svg("pitch", PITCH_HEIGHT + 22, parts, "F0 of the original and of each system")


def _pitch(audio: Audio) -> np.ndarray:
    """``float64[T, 2]``: seconds and Hz."""
    contour = yin(resample(audio, 16_000), floor_hz=PITCH_FLOOR_HZ)
    return np.stack([contour.times, contour.f0], axis=1)
