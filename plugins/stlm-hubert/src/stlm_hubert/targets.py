"""What masked prediction predicts: the k-means cluster of every frame of every recording, fixed before the training."""

from __future__ import annotations

import logging
from itertools import chain

import numpy as np
import torch

from stlm.learn.kmeans import assign, fit_kmeans
from stlm.learn.sounds import Recordings
from stlm.learn.unit_quality import UnitUsage, unit_usage
from stlm_hubert.frames import Frames, frames_of

log = logging.getLogger(__name__)

LEAST_SHARE = 0.5  # of the clusters in use; below, the corpus has too little variety for so many


def cluster_targets(
    recordings: Recordings, frames: Frames, num_clusters: int, *, sample_size: int, seed: int, what: str
) -> tuple[list[np.ndarray], UnitUsage]:
    """``uint16[T]`` for each recording, and how evenly the clusters are used.

    Args:
        recordings: read twice, the first time only as many as the sample needs, evenly spread.
        frames: waves to rows.
        num_clusters: K.
        sample_size: rows that k-means sees.
        seed: decides the sample and the start.
        what: whose clusters, for messages.

    Raises:
        DataError: fewer frames than clusters.
    """
    every = max(1, int(recordings.seconds * 25 / sample_size))  # 25 Hz is the slowest rate in use
    rows = (torch.cat(batch) for batch in frames_of(recordings, frames, every=every))
    centroids = fit_kmeans(rows, num_clusters, seed=seed, sample_size=sample_size)
    codes = [found for batch in frames_of(recordings, frames) for found in _codes(batch, centroids)]
    usage = unit_usage(np.fromiter(chain.from_iterable(codes), np.int64), num_clusters)
    warn_of_unused(usage, num_clusters, what)
    return codes, usage


def warn_of_unused(usage: UnitUsage, num_clusters: int, what: str) -> None:
    if usage.share < LEAST_SHARE:
        log.warning(
            "%s uses %.0f of %d units, expected at least half: give more varied recordings, or fewer units",
            what,
            usage.share * num_clusters,
            num_clusters,
        )


def _codes(batch: list[torch.Tensor], centroids: torch.Tensor) -> list[np.ndarray]:
    lengths = [len(rows) for rows in batch]
    found = assign(torch.cat(batch), centroids.to(batch[0].device)).cpu().numpy().astype(np.uint16)
    return np.split(found, np.cumsum(lengths)[:-1])
