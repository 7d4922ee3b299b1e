"""Accuracy with an interval: the bootstrap resamples groups, so that mirrored halves stay together."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from stlm.errors import DataError
from stlm.evals.likelihood import ScoredItem

LOG = logging.getLogger(__name__)
RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A share in per cent.

    Args:
        accuracy: mean credit over items, 0 to 100.
        ci95: 2.5th and 97.5th percentile over resampled groups.
        n: groups (mirrored pairs).
        items: items.
        left_out: items of groups in which one item has no score.
    """

    accuracy: float
    ci95: tuple[float, float]
    n: int
    items: int
    left_out: int = 0

    def as_dict(self) -> dict[str, object]:
        found = {**asdict(self), "ci95": list(self.ci95)}
        return found if self.left_out else {key: value for key, value in found.items() if key != "left_out"}


def accuracy(items: Sequence[ScoredItem], *, reduce: str = "mean", seed: int = 0) -> Accuracy:
    """Accuracy over items with its bootstrap interval over groups; a group that has no whole score is left out.

    Raises:
        DataError: no group has scores.
    """
    unscored = {item.group for item in items if not item.is_scored}
    by_group: dict[str, list[float]] = defaultdict(list)
    for item in items:
        if item.group not in unscored:
            by_group[item.group].append(item.credit(reduce))
    if not by_group:
        raise DataError(f"none of {len(items)} items can be scored: in each group a candidate has no id that counts")
    totals = np.array([sum(credits) for credits in by_group.values()])
    counts = np.array([len(credits) for credits in by_group.values()])
    low, high = ratio_interval(totals, counts, seed=seed)
    return Accuracy(
        accuracy=float(totals.sum() / counts.sum() * 100),
        ci95=(low * 100, high * 100),
        n=len(totals),
        items=int(counts.sum()),
        left_out=len(items) - int(counts.sum()),
    )


def ratio_interval(totals: np.ndarray, counts: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of ``sum(totals) / sum(counts)`` over groups ``float[N]`` (errors and words, say)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(totals), size=(RESAMPLES, len(totals)))
    resampled = totals[draws].sum(1) / np.maximum(counts[draws].sum(1), 1e-12)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def by_tag(items: Sequence[ScoredItem], tag: str, *, reduce: str = "mean", seed: int = 0) -> dict[str, Accuracy]:
    """Accuracy for each value of a tag in order of first appearance; values of which no group has scores are absent."""
    values: dict[str, list[ScoredItem]] = defaultdict(list)
    for item in items:
        values[item.tags.get(tag, "all")].append(item)
    found: dict[str, Accuracy] = {}
    for value, group in values.items():
        try:
            found[value] = accuracy(group, reduce=reduce, seed=seed)
        except DataError as error:
            LOG.warning("%s %s: %s", tag, value, error)
    return found
