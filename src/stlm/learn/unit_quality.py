"""How much units say of phones, and how alike two sequences of units are: counts in, figures out.

Cluster purity, phone purity and PNMI as in Hsu et al., "HuBERT" (2021), section IV-D; unit edit distance as in Gat et
al., "Augmentation invariant discrete representation for generative spoken language modeling" (2023), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stlm.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitQuality:
    """Of the joint distribution of phones and units, frame by frame.

    Args:
        cluster_purity: mean over frames of the share of a phone's frames that its commonest unit has; falls with K.
        phone_purity: mean over frames of the share of a unit's frames that its commonest phone has: the accuracy of
            the best reading of units as phones.
        pnmi: mutual information of phones and units over the entropy of phones, 0 to 1.
    """

    cluster_purity: float
    phone_purity: float
    pnmi: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitUsage:
    """How evenly K units are used.

    Args:
        share: of units that occur at all.
        perplexity: exp of the entropy: K where all are equally frequent.
    """

    share: float
    perplexity: float


def count_pairs(phones: np.ndarray, units: np.ndarray, num_phones: int, num_units: int) -> np.ndarray:
    """Frames of each phone and unit, ``int64[P, K]``, of ``int[T]`` each; add those of more sounds.

    Raises:
        DataError: the lengths differ.
    """
    if len(phones) != len(units):
        raise DataError(f"got {len(phones)} phones and {len(units)} units, expected one of each per frame")
    pairs = np.asarray(phones, np.int64) * num_units + np.asarray(units, np.int64)
    return np.bincount(pairs, minlength=num_phones * num_units).reshape(num_phones, num_units)


def unit_quality(counts: np.ndarray) -> UnitQuality:
    """Figures of ``int[P, K]`` as `count_pairs` makes it.

    Raises:
        DataError: no frames, or a single phone, whose entropy is zero.
    """
    joint = counts / max(counts.sum(), 1)
    of_phones, of_units = joint.sum(1), joint.sum(0)
    phone_entropy = _entropy(of_phones)
    if phone_entropy <= 0:
        raise DataError(f"got frames of {np.count_nonzero(of_phones)} phones, expected at least 2")
    information = phone_entropy + _entropy(of_units) - _entropy(joint)
    return UnitQuality(
        cluster_purity=float(joint.max(1).sum()),
        phone_purity=float(joint.max(0).sum()),
        pnmi=float(information / phone_entropy),
    )


def unit_usage(codes: np.ndarray, num_units: int) -> UnitUsage:
    """How evenly the units of ``int[T]`` are used."""
    counts = np.bincount(codes, minlength=num_units)
    entropy = _entropy(counts / max(len(codes), 1))
    return UnitUsage(share=np.count_nonzero(counts) / num_units, perplexity=float(np.exp(entropy)))


def without_repeats(codes: np.ndarray) -> np.ndarray:
    """``int[T]`` with runs of one unit cut to one.

    >>> without_repeats(np.array([3, 3, 1, 1, 1, 3])).tolist()
    [3, 1, 3]
    """
    return codes[np.diff(codes, prepend=-1) != 0]


def edit_distance(reference: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray) -> int:
    """Insertions, deletions and substitutions between two sequences (Levenshtein).

    >>> edit_distance([1, 2, 3], [2, 3, 4])
    2
    """
    other = np.asarray(other)
    places = np.arange(len(other) + 1)
    row = places.copy()
    for count, unit in enumerate(np.asarray(reference), start=1):
        best = np.empty_like(row)
        best[0] = count
        best[1:] = np.minimum(row[1:] + 1, row[:-1] + (other != unit))
        # an insertion costs one for each place to the right
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])


def _entropy(probabilities: np.ndarray) -> float:
    """In nats."""
    known = probabilities[probabilities > 0]
    return float(-(known * np.log(known)).sum())
