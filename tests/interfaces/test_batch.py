"""The batch that crosses from the feed into a backbone."""

import torch

from stlm.testing.fakes import batch_of, packed_batch_of


def test_a_batch_moves_whole_and_keeps_its_cursor() -> None:
    batch = packed_batch_of([[[1, 2, 3], [4]], [[5, 6]]])
    moved = type(batch)(**{**{name: getattr(batch, name) for name in batch.__slots__}, "cursor": {"0": 3}}).to("meta")
    for name in ("ids", "labels", "positions", "segments"):
        assert getattr(moved, name).device.type == "meta" and getattr(moved, name).shape == batch.ids.shape
    assert moved.cursor == {"0": 3}


def test_a_batch_without_labels_moves_without() -> None:
    batch = batch_of([[1, 2]])
    bare = type(batch)(ids=batch.ids, positions=batch.positions, segments=batch.segments).to("meta")
    assert bare.labels is None and bare.cursor == {}


def test_padding_is_no_token() -> None:
    assert packed_batch_of([[[1, 2, 3], [4]], [[5, 6]]]).num_tokens == 6
    assert batch_of([[1], [2, 3, 4]], pad_left=True).num_tokens == 4


def test_the_helpers_of_tests_lay_documents_as_the_feed_does() -> None:
    batch = packed_batch_of([[[1, 2, 3], [4, 5]], [[6]]])
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1], [0, 0, 0, 0, 0]]
    assert batch.segments.tolist() == [[1, 1, 1, 2, 2], [1, 0, 0, 0, 0]]
    assert batch.labels is not None and batch.labels.tolist() == [[2, 3, -100, 5, -100], [-100] * 5]
    left = batch_of([[1, 2, 3], [6]], pad_left=True)
    assert left.ids.tolist() == [[1, 2, 3], [0, 0, 6]] and left.segments[1].tolist() == [0, 0, 1]
    assert torch.equal(left.positions, torch.tensor([[0, 1, 2], [0, 0, 0]]))
