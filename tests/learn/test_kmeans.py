"""K-means finds what is there, repeats itself exactly, and treats every row alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from stlm.errors import DataError
from stlm.learn.kmeans import assign, fit_kmeans, lloyd, mini_batch_pass, sample_rows

NUM_CLUSTERS = 12


def clusters(num_points: int = 6000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.randn(NUM_CLUSTERS, 6, generator=generator)
    owner = torch.randint(NUM_CLUSTERS, (num_points,), generator=generator)
    return centres, centres[owner] + torch.randn(num_points, 6, generator=generator)


def test_well_separated_centres_are_found() -> None:
    centres, points = clusters()
    found = fit_kmeans(points.split(500), NUM_CLUSTERS)
    assert torch.cdist(centres, found).min(1).values.max() < 0.3


def test_equal_seed_gives_equal_centroids() -> None:
    _, points = clusters()
    first = fit_kmeans(points.split(500), NUM_CLUSTERS, seed=3, sample_size=2000, passes=1)
    assert torch.equal(first, fit_kmeans(points.split(500), NUM_CLUSTERS, seed=3, sample_size=2000, passes=1))


def test_lloyd_never_makes_the_distortion_worse() -> None:
    points = torch.randn(3000, 5, generator=torch.Generator().manual_seed(1))

    def distortion(centroids: torch.Tensor) -> float:
        return float((points - centroids[assign(points, centroids)]).square().sum())

    steps = [distortion(lloyd(points, points[:20], iterations)) for iterations in range(8)]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(steps))
    assert steps[-1] < 0.8 * steps[0]


def test_a_mini_batch_pass_improves_centroids_that_saw_little() -> None:
    _, points = clusters()
    rough = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(2))[:NUM_CLUSTERS]]
    better = mini_batch_pass(points.split(500), rough)
    before = (points - rough[assign(points, rough)]).square().sum()
    assert (points - better[assign(points, better)]).square().sum() < before


def test_a_dead_cluster_comes_back_to_life() -> None:
    _, points = clusters()
    start = torch.cat([points[: NUM_CLUSTERS - 1], torch.full((1, 6), 1e6)])
    found = lloyd(points, start, 20)
    assert torch.bincount(assign(points, found), minlength=NUM_CLUSTERS).min() > 0


def test_assign_finds_the_nearest_centroid_and_the_first_of_equals() -> None:
    generator = torch.Generator().manual_seed(0)
    points, centroids = torch.randn(999, 7, generator=generator), torch.randn(50, 7, generator=generator)
    brute = (points[:, None] - centroids).double().square().sum(2).argmin(1)
    assert (assign(points, centroids) == brute).float().mean() > 0.999
    assert assign(points, centroids[:1].repeat(3, 1)).max() == 0


def test_a_row_is_assigned_alike_in_any_company() -> None:
    generator = torch.Generator().manual_seed(0)
    points, centroids = torch.randn(5000, 40, generator=generator), torch.randn(300, 40, generator=generator)
    codes = assign(points, centroids)
    for first, count in [(0, 1), (17, 3), (255, 2), (1000, 777), (4999, 1)]:
        assert torch.equal(assign(points[first : first + count], centroids), codes[first : first + count])


def test_no_rows_give_no_codes() -> None:
    assert assign(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0,)


def test_a_sample_is_uniform_and_in_stream_order() -> None:
    rows = torch.arange(1000.0)[:, None]
    hits = torch.zeros(1000)
    for seed in range(300):
        sample = sample_rows(rows.split(37), 100, torch.Generator().manual_seed(seed))[:, 0]
        assert len(sample) == 100
        assert (sample.diff() > 0).all()
        hits[sample.long()] += 1
    # 30 expected per row; the halves differ by chance alone
    assert abs(float(hits[:500].mean() - hits[500:].mean())) < 1.0
    assert hits.max() < 60


def test_too_little_data_says_how_much_there_is() -> None:
    with pytest.raises(DataError, match="got 3 frames for 5 clusters"):
        fit_kmeans([torch.zeros(3, 2)], 5)
    with pytest.raises(DataError, match="no features"):
        fit_kmeans([], 5)


def test_identical_points_do_not_break_the_start() -> None:
    assert fit_kmeans([torch.ones(50, 2)], 4).shape == (4, 2)
