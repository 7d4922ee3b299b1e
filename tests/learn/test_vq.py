import numpy as np
import pytest
import torch

from stlm.errors import ConfigError
from stlm.learn.vq import MovingCodebook, code_usage, nearest


def blobs(number: int = 256, seed: int = 0) -> torch.Tensor:
    """Rows around four corners."""
    rng = np.random.default_rng(seed)
    corners = np.array([[5.0, 5.0], [-5.0, 5.0], [5.0, -5.0], [-5.0, -5.0]])
    rows = corners[rng.integers(4, size=number)] + rng.normal(0, 0.3, (number, 2))
    return torch.from_numpy(rows.astype(np.float32))


def test_a_step_by_hand_moves_an_entry_to_the_moving_average_of_its_rows():
    codebook = MovingCodebook(2, 1, decay=0.75, revive_below=0.0)
    codebook.calls += 1
    codebook.entries.copy_(torch.tensor([[0.0], [10.0]]))
    codebook.counts.copy_(torch.tensor([2.0, 2.0]))
    codebook.sums.copy_(torch.tensor([[0.0], [20.0]]))
    found = codebook(torch.tensor([[1.0], [2.0], [8.0]]))
    assert found.codes.tolist() == [0, 0, 1]
    assert float(found.commitment) == pytest.approx((1 + 4 + 4) / 3)
    # counts 0.75 * 2 + 0.25 * (2 and 1), sums 0.75 * (0 and 20) + 0.25 * (3 and 8)
    torch.testing.assert_close(codebook.counts, torch.tensor([2.0, 1.75]))
    torch.testing.assert_close(codebook.entries, torch.tensor([[0.75 / 2], [17 / 1.75]]))


def test_entries_move_to_where_the_rows_are():
    codebook = MovingCodebook(16, 2, decay=0.8, revive_below=2.0)
    codebook(blobs() * 0.1)
    assert float(codebook.eval()(blobs()).commitment) > 15
    codebook.train()
    for step in range(100):
        codebook(blobs(seed=step))
    found = codebook.eval()(blobs(seed=1000))
    assert float(found.commitment) < 0.09, "the variance within a corner, of one entry each"
    assert code_usage(found.codes, 16).share > 0.9


def test_the_gradient_goes_straight_through_and_commitment_pulls_rows_to_entries():
    codebook = MovingCodebook(4, 2).eval()
    codebook.entries.copy_(blobs(4))
    rows = blobs().requires_grad_()
    found = codebook(rows)
    torch.testing.assert_close(found.rows, codebook.entries[found.codes])
    (gradient,) = torch.autograd.grad(found.rows.sum(), rows, retain_graph=True)
    torch.testing.assert_close(gradient, torch.ones_like(rows))
    (gradient,) = torch.autograd.grad(found.commitment, rows)
    torch.testing.assert_close(gradient, 2 * (rows - codebook.entries[found.codes]).detach() / rows.numel())


def test_dead_entries_come_back_as_rows_of_the_batch():
    codebook = MovingCodebook(4, 2, decay=0.5, revive_below=1.0)
    codebook.calls += 1
    codebook.counts.fill_(1.0)
    codebook.entries.copy_(torch.tensor([[5.0, 5.0], [900.0, 0.0], [900.0, 1.0], [900.0, 2.0]]))
    rows = blobs()
    codebook(rows)
    assert all((rows == entry).all(1).any() for entry in codebook.entries[1:])
    assert not (rows == codebook.entries[0]).all(1).any()
    assert len(codebook.entries.unique(dim=0)) == 4


def test_in_evaluation_nothing_moves():
    codebook = MovingCodebook(4, 2)
    codebook(blobs())
    before = {name: value.clone() for name, value in codebook.state_dict().items()}
    codebook.eval()(blobs(seed=9))
    assert all(torch.equal(before[name], value) for name, value in codebook.state_dict().items())


def test_a_codebook_from_its_state_goes_on_exactly():
    whole, second = MovingCodebook(16, 2, seed=3), MovingCodebook(16, 2, seed=3)
    for step in range(6):
        if step == 3:
            second.load_state_dict(whole.state_dict())
        whole(blobs(seed=step))
        if step >= 3:
            second(blobs(seed=step))
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in whole.state_dict().items())


def test_fewer_rows_than_entries_are_taken_more_than_once():
    codebook = MovingCodebook(8, 2)
    codebook(blobs(3))
    assert torch.isfinite(codebook.entries).all()


def test_the_first_of_equally_near_entries_is_chosen():
    entries = torch.tensor([[1.0], [-1.0], [1.0]])
    assert nearest(torch.tensor([[0.0], [3.0], [-2.0]]), entries).tolist() == [0, 0, 1]


def test_usage_counts_entries_and_their_evenness():
    assert code_usage(torch.tensor([0, 1, 2, 3]), 8).perplexity == pytest.approx(4)
    assert code_usage(torch.tensor([0, 1, 2, 3]), 8).share == 0.5
    assert code_usage(torch.tensor([2, 2]), 8).perplexity == pytest.approx(1)
    halves = code_usage(torch.tensor([0, 0, 1, 2]), 3)
    assert halves.perplexity == pytest.approx(2**1.5)


@pytest.mark.parametrize("wrong", [{"num_entries": 0}, {"width": 0}, {"decay": 1.0}, {"revive_below": -1.0}])
def test_impossible_codebooks_are_refused(wrong):
    with pytest.raises(ConfigError, match="a codebook needs"):
        MovingCodebook(**{"num_entries": 2, "width": 2, **wrong})
