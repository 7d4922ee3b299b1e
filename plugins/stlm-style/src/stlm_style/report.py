"""How much style units say of the labels: each unit is read as the label that it most often had in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from stlm.learn.kmeans import assign
from stlm.learn.unit_quality import count_pairs
from stlm.learn.vq import code_usage

POOR_ACCURACY = 0.25
"""Of the way from chance to all right, below which a result is called poor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Seconds of recordings.

    Args:
        rows: ``float32[S, D]``, projected means.
        owners: ``int64[S]``, the recording of each, rising.
        labels: ``int64[R]``, the label of each recording.
        guesses: ``int64[S]``, the label that the classifier gave before its classes became clusters.
    """

    rows: torch.Tensor
    owners: np.ndarray
    labels: np.ndarray
    guesses: np.ndarray


def report(seen: Seconds, heard: Seconds, centroids: torch.Tensor, names: list[str]) -> dict[str, Any]:
    """Figures of recordings that were held out, and what each unit is read as.

    Args:
        seen: seconds trained on.
        heard: seconds held out.
        centroids: ``float32[K, D]``.
        names: of the labels.
    """
    meanings = meanings_of(assign(seen.rows, centroids).numpy(), seen.labels[seen.owners], len(centroids), len(names))
    units = assign(heard.rows, centroids)
    figures = accuracies(units.numpy(), heard.owners, heard.labels, meanings)
    usage = code_usage(units, len(centroids))
    return {
        "recordings": len(heard.labels),
        **figures,
        "classifier_accuracy": float(np.mean(heard.guesses == heard.labels[heard.owners])),
        "nmi": normalised_information(units.numpy(), heard.labels[heard.owners]),
        "units_used": usage.share,
        "perplexity": usage.perplexity,
        "units": [names[meaning] for meaning in meanings],
    }


def meanings_of(units: np.ndarray, labels: np.ndarray, num_units: int, num_labels: int) -> np.ndarray:
    """``int64[K]``: the label that each unit most often has, of units and labels ``int64[S]``; 0 for unused units."""
    return count_pairs(labels, units, num_labels, num_units).argmax(0)


def accuracies(units: np.ndarray, owners: np.ndarray, labels: np.ndarray, meanings: np.ndarray) -> dict[str, float]:
    """Share of seconds that are read right, and of recordings whose seconds are mostly read so.

    Args:
        units, owners: ``int64[S]``.
        labels: ``int64[R]``.
        meanings: ``int64[K]``.
    """
    votes = count_pairs(owners, meanings[units], len(labels), int(max(meanings.max(), labels.max())) + 1)
    right = votes[np.arange(len(labels)), labels].sum()
    return {
        "unit_accuracy": float(right / len(units)),
        "recording_accuracy": float(np.mean(votes.argmax(1) == labels)),
    }


def normalised_information(units: np.ndarray, labels: np.ndarray) -> float:
    """Mutual information of units and labels ``int64[S]`` over the mean of their entropies; 1 if either decides the
    other, 0 if neither says anything."""
    joint = count_pairs(labels, units, int(labels.max()) + 1, int(units.max()) + 1) / len(units)
    rows, columns = joint.sum(1), joint.sum(0)
    total = _entropy(rows) + _entropy(columns)
    return 2 * (total - _entropy(joint)) / total if total > 0 else 0.0


def _entropy(shares: np.ndarray) -> float:
    heard = shares[shares > 0]
    return float(-(heard * np.log(heard)).sum())
