"""Rows of one length: nothing is lost, labels are right, and a packer resumes in the middle of its pool."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.errors import ConfigError
from stlm.feed import FeedSource, LogicalStream, Packer, make_row
from stlm.feed.packing import IGNORE, Row
from stlm.feed.stream import Ref
from stlm.testing.factories import base_codec
from stlm.types import TokenSequence

MakeSources = Callable[[], list[FeedSource]]
METHODS = ["best_fit", "split"]


def make_packer(mixture: MakeSources, method: str, length: int = 256, pool: int = 16, seed: int = 0) -> Packer:
    stream = LogicalStream(mixture(), base_codec(), seed=seed)
    return Packer(stream, length=length, pad=258, method=method, pool=pool)


def sequences(*lengths: int, loss: bool = True) -> list[TokenSequence]:
    """Documents of distinct ids, from 1 on."""
    ends = np.cumsum(lengths)
    return [
        TokenSequence(ids=np.arange(end - size + 1, end + 1, dtype=np.int32), loss=np.full(size, loss))
        for size, end in zip(lengths, ends, strict=True)
    ]


class Recorded:
    """A stream of given documents that keeps what it has given away."""

    def __init__(self, documents: list[TokenSequence]) -> None:
        self.documents = documents
        self.given = 0

    def next(self):
        document = self.documents[self.given % len(self.documents)]
        self.given += 1
        return Ref(0, 0, 0, self.given - 1), document


def pieces(row: Row) -> list[list[int]]:
    """The ids of each segment of a row."""
    return [row.ids[row.segments == number].tolist() for number in range(1, int(row.segments.max()) + 1)]


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), length=st.integers(2, 24))
def test_splitting_lays_documents_end_to_end(lengths: list[int], length: int) -> None:
    stream = Recorded(sequences(*lengths))
    packer = Packer(stream, length=length, method="split")
    rows = [packer.next() for _ in range(4)]
    assert all((row.segments > 0).all() for row in rows), "split rows have no padding"
    laid = np.concatenate([row.ids for row in rows])
    expected = np.concatenate([stream.documents[index % len(lengths)].ids for index in range(stream.given)])
    np.testing.assert_array_equal(laid, expected[: len(laid)])


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), length=st.integers(2, 24), pool=st.integers(1, 8))
def test_best_fit_loses_no_token_and_cuts_only_what_is_longer_than_a_row(
    lengths: list[int], length: int, pool: int
) -> None:
    stream = Recorded(sequences(*lengths))
    packer = Packer(stream, length=length, method="best_fit", pool=pool)
    found = [piece for _ in range(6) for piece in pieces(packer.next())]
    waiting = [item.sequence.ids[item.start :].tolist() for item in packer._pool]
    given_away = [stream.documents[index % len(lengths)].ids.tolist() for index in range(stream.given)]
    assert sorted(id for piece in found + waiting for id in piece) == sorted(id for ids in given_away for id in ids)
    for piece in found:
        assert piece == list(range(piece[0], piece[0] + len(piece))), "a piece is a stretch of one document"
        whole = next(ids for ids in given_away if piece[0] in ids)
        assert piece == whole or len(whole) > length


def test_best_fit_fills_rows_almost_completely(mixture: MakeSources) -> None:
    packer = make_packer(mixture, "best_fit", length=1024, pool=64)
    rows = [packer.next() for _ in range(60)]
    padding = 1 - np.mean([(row.segments > 0).mean() for row in rows])
    assert padding < 0.03, f"{padding:.1%} of the ids are padding"


def test_no_document_waits_for_ever(mixture: MakeSources) -> None:
    """Long documents rarely fit beside others; the oldest opens each row."""
    packer = make_packer(mixture, "best_fit", pool=8)
    for _ in range(300):
        packer.next()
        oldest = min(item.order for item in packer._pool)
        assert packer._order - oldest < 8 * 8


@pytest.mark.parametrize("method", METHODS)
def test_a_packer_resumes_exactly_after_every_row(mixture: MakeSources, method: str) -> None:
    """Mid-pool, with cut-off rests, across epochs; the state goes through JSON."""
    reference = make_packer(mixture, method, length=96)
    states, rows = [], []
    for _ in range(60):
        states.append(json.dumps(reference.state()))
        rows.append(reference.next())
    assert max(json.loads(states[-1])["stream"]["cursors"])[0] >= 1, "the test must reach a second epoch"
    assert any(entry[4] > 0 for state in states for entry in json.loads(state)["pending"]), "no rest was waiting"
    for place in range(0, 50, 3):
        resumed = make_packer(mixture, method, length=96)
        resumed.load(json.loads(states[place]))
        for expected in rows[place : place + 8]:
            got = resumed.next()
            for column in ("ids", "labels", "positions", "segments"):
                np.testing.assert_array_equal(getattr(got, column), getattr(expected, column))


def test_labels_are_the_following_ids_of_the_same_document() -> None:
    row = make_row(sequences(3, 1, 2), 8, pad=99)
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 6, 99, 99]
    assert row.labels.tolist() == [2, 3, IGNORE, IGNORE, 6, IGNORE, IGNORE, IGNORE]
    assert row.positions.tolist() == [0, 1, 2, 0, 0, 1, 0, 0]
    assert row.segments.tolist() == [1, 1, 1, 2, 3, 3, 0, 0]


def test_ids_without_loss_are_predicted_by_none() -> None:
    document = TokenSequence(ids=np.arange(1, 6, dtype=np.int32), loss=np.array([True, False, False, True, True]))
    assert make_row([document], 5, pad=0).labels.tolist() == [IGNORE, IGNORE, 4, 5, IGNORE]


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), data=st.data())
def test_each_label_agrees_with_the_document_it_stands_in(lengths: list[int], data: st.DataObject) -> None:
    documents = [
        TokenSequence(
            ids=np.array(data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size)), np.int32),
            loss=np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool),
        )
        for size in lengths
    ]
    row = make_row(documents, sum(lengths) + 3, pad=0)
    place = 0
    for document in documents:
        for index in range(len(document)):
            following = index + 1
            counts = following < len(document) and document.loss[following]
            assert row.labels[place + index] == (document.ids[following] if counts else IGNORE)
            assert row.positions[place + index] == index
        place += len(document)
    assert (row.labels[place:] == IGNORE).all() and (row.segments[place:] == 0).all()
    assert all(getattr(row, column).dtype == np.int64 for column in ("ids", "labels", "positions", "segments"))


def test_padding_has_the_id_that_was_asked_for(mixture: MakeSources) -> None:
    packer = make_packer(mixture, "best_fit", pool=1)
    rows = [packer.next() for _ in range(10)]
    padding = np.concatenate([row.ids[row.segments == 0] for row in rows])
    assert set(padding.tolist()) == {258}


@pytest.mark.parametrize(
    ("options", "message"), [({"method": "bestfit"}, "'best_fit' or 'split'"), ({"length": 1}, "2 ids")]
)
def test_options_that_make_no_sense_are_refused(shards: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Packer(Recorded(sequences(3)), **{"length": 8, **options})
