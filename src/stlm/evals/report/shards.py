"""The survey of a set of shards as one self-contained page: figures, histograms, what was rejected, what made it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from stlm.evals.report.drawing import Axis, svg
from stlm.evals.report.page import page_environment, plain
from stlm.store.quarantine import Reason
from stlm.store.survey import Bar, Survey

HEIGHT = 170
NUM_BARS = 32


def shards_page(
    found: Survey, *, where: str, facts: Mapping[str, str], rejected: Sequence[Reason], run: Mapping[str, object]
) -> str:
    """The page.

    Args:
        found: the figures.
        where: the directory or URL, as a title.
        facts: figures by label, as they are printed.
        rejected: notes of the quarantine list by reason.
        run: content of ``run.json``; empty where there is none.
    """
    template = page_environment("stlm.evals.report", drawings=(histogram,)).get_template("shards.html.j2")
    charts = {name: tally.bars(NUM_BARS) for name, tally in found.histograms.items() if tally.num}
    usage = {name: stream.usage(4 * NUM_BARS) for name, stream in found.streams.items()}
    return template.render(
        found=found, where=where, facts=facts, charts=charts, usage=usage, rejected=rejected, run=plain(run)
    )


def histogram(bars: Sequence[Bar], label: str) -> str:
    """Bars of one width beside each other, with a few of their edges below and the tallest's count above."""
    most = max(bar.count for bar in bars) or 1
    width = 100 / len(bars)
    every = math.ceil(len(bars) / 8)
    up = Axis(low=0, high=most)
    parts = []
    for tick in (tick for tick in up.ticks(3) if tick >= 1):
        y = HEIGHT * (1 - up.percent(tick) / 100)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="0" dx="-8" y="{y + 4:.1f}">{short(tick)}</text>')
    for index, bar in enumerate(bars):
        height = HEIGHT * bar.count / most
        span = f"{bar.low:g} to {bar.high:g}" if math.isfinite(bar.high) else f"{bar.low:g} and more"
        parts.append(
            f'<rect class="bar" x="{index * width:.3f}%" y="{HEIGHT - height:.1f}" width="{0.88 * width:.3f}%" '
            f'height="{height:.1f}"><title>{span}: {bar.count:,}</title></rect>'
        )
        if index % every == 0:
            parts.append(f'<text class="tick" x="{index * width:.3f}%" y="{HEIGHT + 18}">{bar.low:g}</text>')
    parts.append(f'<line class="grid" x1="0" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>')
    return f'<div class="plot bars">{svg("chart", HEIGHT + 24, parts, label)}</div>'


def short(number: float) -> str:
    """1500000 as 1.5 M."""
    for size, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:g}{name}"
    return f"{number:g}"
