"""Pictures of the demo's report as inline SVG: loss curves, cloze intervals, stage times.

Written by hand, not by matplotlib: positions across are percentages, so that a picture is as wide as the page or phone
while its text keeps its size; colours are the page's CSS classes, so that one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from stlm.evals.report.drawing import Axis, svg

CHANCE = 50.0
ROWS = ("interleaved", "no_interleaving")
DIRECTIONS = ("T->T", "S->T", "T->S", "S->S")
ACROSS = ("S->T", "T->S")


def cloze_chart(cloze: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    """Accuracy as dots with 95 % whiskers by direction, one line per row; hollow dots are not apart from chance."""
    directions = [name for name in DIRECTIONS if any(name in cells for cells in cloze.values())]
    bounds = [bound for cells in cloze.values() for cell in cells.values() for bound in interval(cell)]
    low = min(40.0, math.floor(min(bounds, default=40) / 10) * 10)
    high = max(70.0, math.ceil(max(bounds, default=70) / 10) * 10)
    lane, gap = 20, 18
    group = lane * len(cloze) + gap
    height = group * len(directions)
    axis = Axis(low=low, high=high)
    parts = [
        f'<rect class="across" x="{x}" width="100%" y="{index * group}" height="{group}"/>'
        for index, name in enumerate(directions)
        for x in (-70, 46)  # two, because no attribute says "100 % and both margins"
        if name in ACROSS
    ]
    for tick in range(int(low), int(high) + 1, 10):
        kind, x = "chance" if tick == CHANCE else "grid", f"{axis.percent(tick):.2f}%"
        parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
        parts.append(f'<text class="tick middle" x="{x}" y="{height + 16}">{tick}</text>')
    for index, direction in enumerate(directions):
        top, name = index * group + gap / 2, escape(arrow(direction))
        parts.append(f'<text class="name end" x="0" dx="-16" y="{top + lane * len(cloze) / 2 + 5}">{name}</text>')
        for lane_index, (row, cells) in enumerate(cloze.items()):
            if direction in cells:
                parts += _whisker(row, cells[direction], axis, lane_index, top + lane * (lane_index + 0.5))
    return f'<div class="plot cloze">{svg("chart", height + 22, parts, "Cloze accuracy with 95 % intervals")}</div>'


def _whisker(row: str, cell: Mapping[str, object], axis: Axis, index: int, y: float) -> list[str]:
    low, high = interval(cell)
    sure = "sure" if against_chance(cell) else "unsure"
    spot = f'y1="{y}" y2="{y}"'
    return [
        f'<g class="row-{row_style(row, index)} {sure}"><title>{escape(row_name(row))}: {accuracy(cell):.1f} % '
        f"[{low:.1f}, {high:.1f}]</title>"
        f'<line class="whisker" x1="{axis.percent(low):.2f}%" x2="{axis.percent(high):.2f}%" {spot}/>'
        f'<circle cx="{axis.percent(accuracy(cell)):.2f}%" cy="{y}" r="5"/>'
        f'<text class="value" x="{axis.percent(high):.2f}%" dx="9" y="{y + 4}">{accuracy(cell):.1f}</text></g>'
    ]


def loss_curves(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Loss over the tokens seen, faint as logged and bold smoothed: a panel per vocabulary block, markers left out.

    The two rows of the cloze share their panels; another row, such as a tuning, has panels of its own.
    """
    compared = {row: points for row, points in losses.items() if row in ROWS}
    groups = [compared, *({row: points} for row, points in losses.items() if row not in ROWS)]
    panels = [_loss_panel(group, key) for group in groups for key in _loss_keys(group)]
    return f'<div class="panels">{"".join(panels)}</div>' if any(panels) else ""


def _loss_keys(losses: Mapping[str, Sequence[Mapping[str, float]]]) -> list[str]:
    keys = dict.fromkeys(key for points in losses.values() for point in points for key in point)
    blocks = [key for key in keys if key.startswith("loss_") and key != "loss_markers"]
    return sorted(blocks, key=lambda key: key != "loss_text") or [key for key in keys if key == "loss"]


def _loss_panel(losses: Mapping[str, Sequence[Mapping[str, float]]], key: str) -> str:
    curves = {row: _curve(points, key) for row, points in losses.items()}
    curves = {row: curve for row, curve in curves.items() if len(curve)}
    if not curves:
        return ""
    every = np.concatenate(list(curves.values()))
    height = 190
    across = Axis(low=0.0, high=float(every[:, 0].max()) or 1.0)
    bottom, top = float(every[:, 1].min()), float(every[:, 1].max())
    margin = 1.05 if bottom > 0 else 1.0
    up = Axis(low=bottom / margin, high=top * margin or 1.0, log=bottom > 0 and top / bottom > 4)
    parts = []
    for tick in up.ticks():
        y = height * (1 - up.percent(tick) / 100)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="0" dx="-8" y="{y + 4:.1f}">{tick:g}</text>')
    for tick in across.ticks(count=3):
        parts.append(
            f'<text class="tick middle" x="{across.percent(tick):.2f}%" y="{height + 18}">{short(tick)}</text>'
        )
    parts += _loss_lines(curves, across, up, height)
    block = key.removeprefix("loss_") if key != "loss" else "all tokens"
    modality = {"text": "text", "all tokens": "marker"}.get(block, "speech")
    scale = "log scale, " if up.log else ""
    return (
        f'<figure class="panel"><figcaption><span class="chip {modality}">{escape(block)}</span> '
        f'<small>nats per token, {scale}over tokens seen</small></figcaption><div class="plot loss">'
        f"{svg('chart', height + 24, parts, f'Loss on {block} over tokens seen')}</div></figure>"
    )


def _loss_lines(curves: Mapping[str, np.ndarray], across: Axis, up: Axis, height: int) -> list[str]:
    lines, ends, crest = [], [], 0.0
    for index, (row, curve) in enumerate(curves.items()):
        smooth = np.column_stack([curve[:, 0], _smoothed(curve[:, 1])])
        style = f"row-{row_style(row, index)}"
        lines.append(f'<polyline class="raw {style}" points="{_points(curve, across, up)}"/>')
        lines.append(f'<polyline class="{style}" points="{_points(smooth, across, up)}"/>')
        ends.append((float(smooth[-1, 1]), f"{escape(row_name(row))} {smooth[-1, 1]:.2f}", style))
        right = smooth[smooth[:, 0] >= 0.55 * across.high, 1]
        crest = max(crest, up.percent(float(right.max())) if len(right) else 0.0)
    ends.sort()
    lowest = max(height * (1 - crest / 100) - 14, 16 * len(ends) - 4)  # above the curves, which fall to the right
    labels = [
        f'<text class="label end {style}" x="100%" y="{lowest - 16 * index:.1f}">{label}</text>'
        for index, (_, label, style) in enumerate(ends)
    ]
    inner = f'<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
    return [inner + "".join(lines) + "</svg>", *labels]


def last_losses(points: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The figures at the ends of the smoothed curves, by key."""
    keys = dict.fromkeys(key for point in points for key in point if key.startswith("loss"))
    curves = {key: _curve(points, key) for key in keys}
    return {key: float(_smoothed(curve[:, 1])[-1]) for key, curve in curves.items() if len(curve)}


def _curve(points: Sequence[Mapping[str, float]], key: str) -> np.ndarray:
    """``float[N, 2]`` of tokens and loss, finite points only."""
    pairs = [(point.get("tokens", point.get("step", index)), point.get(key)) for index, point in enumerate(points)]
    kept = [pair for pair in pairs if pair[1] is not None and math.isfinite(pair[0]) and math.isfinite(pair[1])]
    return np.array(kept, dtype=float).reshape(-1, 2)


def _smoothed(values: np.ndarray) -> np.ndarray:
    """A centred moving mean over a twentieth of the curve, cut off at its ends."""
    half = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centre = np.arange(len(values))
    first, last = np.maximum(centre - half, 0), np.minimum(centre + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _points(curve: np.ndarray, across: Axis, up: Axis) -> str:
    kept = curve[np.unique(np.linspace(0, len(curve) - 1, 400).astype(int))]
    return " ".join(f"{10 * across.percent(x):.0f},{1000 - 10 * up.percent(y):.0f}" for x, y in kept.tolist())


def timing_bars(timings: Mapping[str, float]) -> str:
    """A bar per stage, in order, with its time written out."""
    longest = max(timings.values(), default=0) or 1.0
    parts = []
    for index, (stage, seconds) in enumerate(timings.items()):
        y = index * 34
        parts.append(
            f'<text class="name" x="0" y="{y + 13}">{escape(stage.replace("_", " "))}</text>'
            f'<text class="value end" x="100%" y="{y + 13}">{duration(seconds)}</text>'
            f'<rect class="track" x="0" y="{y + 19}" width="100%" height="5" rx="2.5"/>'
            f'<rect class="bar" x="0" y="{y + 19}" width="{100 * seconds / longest:.2f}%" height="5" rx="2.5"/>'
        )
    return svg("chart timings", 34 * len(timings), parts, "Time by stage")


def accuracy(cell: Mapping[str, object]) -> float:
    return np.asarray(cell["accuracy"], dtype=float).item()


def interval(cell: Mapping[str, object]) -> tuple[float, float]:
    """The 95 % interval of a result in per cent."""
    low, high = np.asarray(cell["ci95"], dtype=float).tolist()
    return low, high


def against_chance(cell: Mapping[str, object]) -> int:
    """1 if the interval lies above 50 %, -1 below, 0 if it includes it."""
    low, high = interval(cell)
    return int(low > CHANCE) - int(high < CHANCE)


def arrow(direction: str) -> str:
    return direction.replace("->", "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}")


def row_name(row: str) -> str:
    return row.replace("_", " ")


def row_style(row: str, index: int) -> int:
    """The number of a row's colour, the same in every picture."""
    return ROWS.index(row) if row in ROWS else 2 + index % 2


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def short(number: float) -> str:
    """1500000 as 1.5 M."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{name}"
    return f"{number:g}"
