"""Credits, ties, and intervals that keep mirrored halves together."""

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.evals import ScoredItem, accuracy, by_tag


def item(sums, answer=0, counts=None, group="g", id="i", **tags) -> ScoredItem:
    counts = counts or (1,) * len(sums)
    return ScoredItem(id=id, group=group, answer=answer, sums=tuple(sums), counts=tuple(counts), tags=tags)


@pytest.mark.parametrize(
    ("sums", "answer", "credit"),
    [
        ((-1.0, -2.0), 0, 1.0),
        ((-1.0, -2.0), 1, 0.0),
        ((-1.5, -1.5), 0, 0.5),
        ((-1.5, -1.5), 1, 0.5),
        ((-1.0, -1.0, -3.0), 1, 0.5),
        ((-1.0, -1.0, -3.0), 2, 0.0),
        ((-2.0, -2.0, -2.0), 2, 1 / 3),
    ],
)
def test_ties_share_the_credit(sums: tuple[float, ...], answer: int, credit: float) -> None:
    assert item(sums, answer).credit("sum") == pytest.approx(credit)
    assert item(sums, answer).credit("mean") == pytest.approx(credit)


def test_sum_and_mean_can_disagree() -> None:
    """A long candidate loses by its sum and wins by its mean."""
    found = item((-10.0, -4.0), answer=0, counts=(10, 2))
    assert found.credit("sum") == 0.0 and found.credit("mean") == 1.0
    assert found.credit() == 1.0


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ConfigError, match="sum, mean, got 'max'"):
        item((-1.0, -2.0)).credit("max")


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_a_candidate_without_counted_ids_has_no_score(reduce: str) -> None:
    """Its sum of nothing would be 0, above any log-probability."""
    with pytest.raises(DataError, match="item i: candidate 0 has no id that counts"):
        item((0.0, -1.0), counts=(0, 2)).credit(reduce)


def test_items_without_a_score_are_left_out_with_their_pair_and_counted() -> None:
    items = [
        item((0.0, -1.0), counts=(0, 2), group="a"),
        item((-2.0, -1.0), group="a"),
        item((-1.0, -2.0), group="b"),
        item((-1.0, -2.0), answer=1, group="b"),
    ]
    found = accuracy(items)
    assert (found.accuracy, found.n, found.items, found.left_out) == (50.0, 1, 2, 2)
    assert found.as_dict()["left_out"] == 2
    with pytest.raises(DataError, match="none of 2 items can be scored"):
        accuracy(items[:2])


def test_a_facet_in_which_nothing_can_be_scored_is_absent(caplog: pytest.LogCaptureFixture) -> None:
    items = [item((0.0, -1.0), counts=(0, 2), way="S"), item((-1.0, -2.0), way="T")]
    assert set(by_tag(items, "way")) == {"T"}
    assert "way S: none of 1 items can be scored" in caplog.text


def test_accuracy_is_the_mean_credit_in_per_cent() -> None:
    items = [item((1, 0), group="a"), item((0, 1), group="b"), item((1, 1), group="c"), item((1, 0), group="d")]
    found = accuracy(items)
    assert found.accuracy == 62.5 and found.items == 4 and found.n == 4


def test_mirrored_halves_stay_together_in_the_bootstrap() -> None:
    """One half of each pair right and one wrong: every resample gives exactly 50, as every pair does."""
    mirrored = [
        item((1, 0), answer=side, group=str(pair), id=f"{pair}-{side}") for pair in range(40) for side in (0, 1)
    ]
    found = accuracy(mirrored)
    assert found.accuracy == 50.0 and found.ci95 == (50.0, 50.0) and (found.n, found.items) == (40, 80)
    apart = [item(one.sums, one.answer, group=one.id) for one in mirrored]
    low, high = accuracy(apart).ci95
    assert low < 45 < 55 < high


def test_groups_of_different_sizes_weigh_by_their_items() -> None:
    items = [item((1, 0), group="large") for _ in range(9)] + [item((0, 1), group="small")]
    assert accuracy(items).accuracy == 90.0
    assert accuracy(items).ci95 == (0.0, 100.0), "with two groups every mixture of them is drawn"


def test_the_interval_has_the_width_of_theory() -> None:
    rng = np.random.default_rng(0)
    items = [item((1, 0) if right else (0, 1), group=str(i)) for i, right in enumerate(rng.random(400) < 0.7)]
    found = accuracy(items)
    share = found.accuracy / 100
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / 400) * 100
    assert found.ci95[1] - found.ci95[0] == pytest.approx(expected, rel=0.1)
    assert found.ci95[0] < found.accuracy < found.ci95[1]


def test_equal_seeds_give_equal_intervals() -> None:
    items = [item((1, 0) if i % 3 else (0, 1), group=str(i)) for i in range(30)]
    assert accuracy(items, seed=1) == accuracy(items, seed=1)
    assert accuracy(items, seed=1).accuracy == accuracy(items, seed=2).accuracy


def test_tags_are_reported_apart_in_order_of_appearance() -> None:
    items = [
        item((1, 0), group="a", direction="T->S"),
        item((0, 1), group="b", direction="S->T"),
        item((1, 0), group="c"),
    ]
    found = by_tag(items, "direction")
    assert {tag: one.accuracy for tag, one in found.items()} == {"T->S": 100.0, "S->T": 0.0, "all": 100.0}
    assert list(found) == ["T->S", "S->T", "all"]


def test_results_become_plain_values() -> None:
    found = accuracy([item((1, 0), group="a")]).as_dict()
    assert found == {"accuracy": 100.0, "ci95": [100.0, 100.0], "n": 1, "items": 1}
    assert item((1, 0), group="a", direction="x").as_dict()["tags"] == {"direction": "x"}
