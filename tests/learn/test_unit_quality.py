import math

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.learn.unit_quality import count_pairs, edit_distance, unit_quality, unit_usage, without_repeats


def test_pairs_are_counted_frame_by_frame():
    counts = count_pairs(np.array([0, 0, 1, 1]), np.array([2, 2, 0, 2], np.uint16), 2, 3)
    assert counts.tolist() == [[0, 0, 2], [1, 0, 1]]


def test_other_lengths_are_refused():
    with pytest.raises(DataError, match="got 2 phones and 1 units"):
        count_pairs(np.array([0, 1]), np.array([0]), 2, 2)


def test_figures_of_a_table_worked_out_by_hand():
    # p(phone 0) = 3/4, p(unit 0) = 1/2; joint 2/4, 1/4, 0, 1/4
    found = unit_quality(np.array([[2, 1], [0, 1]]))
    assert found.cluster_purity == pytest.approx(2 / 4 + 1 / 4)
    assert found.phone_purity == pytest.approx(2 / 4 + 1 / 4)
    entropy = 3 / 4 * math.log(4 / 3) + 1 / 4 * math.log(4)
    information = 2 / 4 * math.log((2 / 4) / (3 / 8)) + 1 / 4 * math.log((1 / 4) / (3 / 8)) + 1 / 4 * math.log(2)
    assert found.pnmi == pytest.approx(information / entropy)


def test_units_that_are_the_phones_know_all_and_a_single_unit_knows_nothing():
    perfect, constant = unit_quality(np.diag([3, 5, 2])), unit_quality(np.array([[3], [5], [2]]))
    assert (perfect.phone_purity, perfect.cluster_purity) == (pytest.approx(1), pytest.approx(1))
    assert perfect.pnmi == pytest.approx(1)
    assert constant.pnmi == pytest.approx(0)
    assert constant.phone_purity == pytest.approx(0.5)


def test_splitting_units_keeps_phone_purity_and_costs_cluster_purity():
    whole, split = unit_quality(np.diag([4, 4])), unit_quality(np.array([[2, 2, 0, 0], [0, 0, 2, 2]]))
    assert split.phone_purity == whole.phone_purity == 1
    assert split.cluster_purity == whole.cluster_purity / 2


@pytest.mark.parametrize("counts", [np.zeros((2, 2), int), np.array([[3, 1], [0, 0]])])
def test_less_than_two_phones_are_refused(counts):
    with pytest.raises(DataError, match="expected at least 2"):
        unit_quality(counts)


def test_usage_counts_units_and_their_evenness():
    found = unit_usage(np.array([0, 0, 1, 1]), 4)
    assert found.share == 0.5
    assert found.perplexity == pytest.approx(2)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([], [], 0),
        ([1, 2], [], 2),
        ([], [1], 1),
        ([1, 2, 3], [1, 3], 1),
        ([1, 2, 3], [4, 1, 2, 3], 1),
        ([1, 2], [2, 1], 2),
    ],
)
def test_edit_distance_of_small_sequences(a, b, expected):
    assert edit_distance(a, b) == expected


def test_edit_distance_equals_the_textbook_recursion():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.integers(4, size=rng.integers(12)).tolist() for _ in range(2))
        assert edit_distance(a, b) == _slow(a, b)


def _slow(a, b):
    if not a or not b:
        return len(a) + len(b)
    table = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, table[-1][j] + 1, table[-1][j - 1] + (x != y)))
        table.append(row)
    return table[-1][-1]


def test_repeats_go_and_returns_stay():
    assert without_repeats(np.array([0, 0, 5, 0], np.uint16)).tolist() == [0, 5, 0]
    assert without_repeats(np.zeros(0, int)).tolist() == []
