"""Batches: logical streams dealt to ranks and workers, and a cursor in every batch."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from stlm.errors import ConfigError
from stlm.feed import FeedOptions, FeedSource, LogicalStream, PackedDataset, batch_documents, dataset
from stlm.feed.stream import Ref
from stlm.interfaces import PackedBatch
from stlm.testing.factories import SPECIAL_IDS, base_codec
from stlm.types import TextSpan

MakeSources = Callable[[], list[FeedSource]]
OPTIONS = FeedOptions(length=128, rows=2, num_streams=4, pool=8)


def make(mixture: MakeSources, options: FeedOptions = OPTIONS, **more) -> PackedDataset:
    return PackedDataset(mixture, base_codec, options, **more)


def batches(found: Iterator[PackedBatch], count: int) -> list[PackedBatch]:
    return list(islice(found, count))


def content(batch: PackedBatch) -> tuple[object, ...]:
    assert batch.labels is not None
    return tuple(tensor.tolist() for tensor in (batch.ids, batch.labels, batch.positions, batch.segments))


def stream_of(batch: PackedBatch) -> int:
    (stream,) = batch.cursor
    return int(stream)


def latest(seen: list[PackedBatch]) -> dict:
    """The cursor of a run after these batches, as a checkpoint holds it."""
    cursor: dict = {}
    for batch in seen:
        cursor.update(batch.cursor)
    return json.loads(json.dumps(cursor))


def loader(mixture: MakeSources, monkeypatch: pytest.MonkeyPatch, workers: int, **more) -> Iterator[PackedBatch]:
    """What torch's loader does: a copy of the dataset per worker, and one batch from each in turn."""
    lanes = []
    if not workers:
        yield from make(mixture, **more)
    for worker in range(workers):
        monkeypatch.setattr(dataset, "get_worker_info", lambda w=worker: SimpleNamespace(id=w, num_workers=workers))
        lane = iter(make(mixture, **more))
        first = next(lane)  # runs the generator up to here while this worker's number is in force
        lanes.append((first, lane))
    monkeypatch.undo()
    yield from (first for first, _ in lanes)
    while True:
        for _, lane in lanes:
            yield next(lane)


def test_batches_have_the_shape_that_was_asked_for(mixture: MakeSources) -> None:
    for batch in batches(iter(make(mixture)), 5):
        for tensor in (batch.ids, batch.labels, batch.positions, batch.segments):
            assert tensor is not None and tensor.shape == (2, 128) and tensor.dtype == torch.int64
        assert batch.ids[batch.segments == 0].eq(SPECIAL_IDS["pad"]).all()


def test_streams_take_turns(mixture: MakeSources) -> None:
    assert [stream_of(batch) for batch in batches(iter(make(mixture)), 9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_a_run_resumes_with_the_very_next_batch(mixture: MakeSources) -> None:
    reference = batches(iter(make(mixture)), 30)
    for place in (1, 2, 5, 8, 21):
        resumed = batches(iter(make(mixture, cursor=latest(reference[:place]))), 9)
        assert [content(batch) for batch in resumed] == [content(batch) for batch in reference[place : place + 9]]
        assert [batch.cursor for batch in resumed] == [batch.cursor for batch in reference[place : place + 9]]


@pytest.mark.parametrize(("world_size", "workers"), [(2, 1), (4, 1), (1, 2), (2, 2), (1, 4)])
def test_however_streams_are_dealt_each_gives_the_same_batches(
    mixture: MakeSources, monkeypatch: pytest.MonkeyPatch, world_size: int, workers: int
) -> None:
    alone: dict[int, list[object]] = {}
    for batch in batches(iter(make(mixture)), 16):
        alone.setdefault(stream_of(batch), []).append(content(batch))
    dealt: dict[int, list[object]] = {}
    for rank in range(world_size):
        share = loader(mixture, monkeypatch, workers, rank=rank, world_size=world_size)
        for batch in batches(share, 16 // world_size):
            dealt.setdefault(stream_of(batch), []).append(content(batch))
    assert dealt == alone


@pytest.mark.parametrize(("world_size", "workers"), [(2, 0), (2, 2), (4, 0), (1, 2)])
@pytest.mark.parametrize("place", [0, 4, 8])
def test_the_next_batches_of_all_ranks_are_those_that_one_rank_reads_in_turn(
    mixture: MakeSources, monkeypatch: pytest.MonkeyPatch, world_size: int, workers: int, place: int
) -> None:
    """So an optimizer step sees the same ids on any number of ranks, also after a resume on another number."""
    alone = batches(iter(make(mixture)), place + 8)
    cursor = latest(alone[:place])
    lanes = [
        batches(loader(mixture, monkeypatch, workers, rank=rank, world_size=world_size, cursor=cursor), 8 // world_size)
        for rank in range(world_size)
    ]
    together = [content(batch) for step in zip(*lanes, strict=True) for batch in step]
    assert together == [content(batch) for batch in alone[place:]]


def test_a_batch_knows_where_its_documents_came_from_and_how_much_each_source_gave(mixture: MakeSources) -> None:
    codec = base_codec()
    stream = LogicalStream(mixture(), codec, index=0, num_streams=4, seed=OPTIONS.seed)
    given: Counter[int] = Counter()
    for batch in batches(iter(make(mixture)), 9):
        ends = batch.document_bounds().tolist()
        runs = [slice(*ends[index : index + 2]) for index in range(len(ends) - 1)]
        runs = [run for run in runs if batch.segments.flatten()[run][0] > 0]
        assert len(runs) == len(batch.origins)
        for run, origin in zip(runs, batch.origins, strict=True):
            document = stream.again(Ref(*origin)).ids.tolist()
            found = batch.ids.flatten()[run].tolist()
            assert any(document[at : at + len(found)] == found for at in range(len(document)))
            if stream_of(batch) == 0:
                given[origin[0]] += len(found)
    taken = latest(batches(iter(make(mixture)), 9))["0"]["tokens_taken"]
    assert {int(source): count for source, count in taken.items()} == given


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("place", [1, 2, 3, 5, 8])
def test_a_run_with_workers_resumes_with_the_very_next_batch(
    mixture: MakeSources, monkeypatch: pytest.MonkeyPatch, workers: int, place: int
) -> None:
    """A new loader begins with its first worker again, wherever the old one stopped."""
    reference = batches(loader(mixture, monkeypatch, workers), place + 8)
    cursor = latest(reference[:place])
    resumed = batches(loader(mixture, monkeypatch, workers, cursor=cursor), 8)
    assert [content(batch) for batch in resumed] == [content(batch) for batch in reference[place:]]


def test_each_rank_resumes_by_its_own_count(mixture: MakeSources, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint holds the cursors of all ranks."""
    seen = {rank: batches(loader(mixture, monkeypatch, 2, rank=rank, world_size=2), 9) for rank in (0, 1)}
    cursor = {**latest(seen[0][:3]), **latest(seen[1][:3])}
    for rank in (0, 1):
        resumed = batches(loader(mixture, monkeypatch, 2, rank=rank, world_size=2, cursor=cursor), 6)
        assert [content(batch) for batch in resumed] == [content(batch) for batch in seen[rank][3:]]


def test_streams_that_cannot_be_dealt_evenly_say_so(mixture: MakeSources) -> None:
    with pytest.raises(ConfigError, match=r"feed.num_streams is 4, not a multiple of 3 ranks x 1 workers = 3"):
        next(iter(make(mixture, world_size=3)))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"packing": "split"}, {"pool": 2}])
def test_what_decides_the_batches_does(mixture: MakeSources, changes: dict) -> None:
    reference = batches(iter(make(mixture)), 6)
    other = batches(iter(make(mixture, replace(OPTIONS, **changes))), 6)
    assert [content(batch) for batch in reference] != [content(batch) for batch in other]


def test_documents_are_padded_on_the_right_for_scoring() -> None:
    codec = base_codec()
    documents = [codec.encode((TextSpan(text=text),)) for text in ("hello", "a", "")]
    batch = batch_documents(documents, pad=258)
    assert batch.ids.shape == (3, 9)
    for row, document in enumerate(documents):
        count = len(document)
        assert batch.ids[row, :count].tolist() == document.ids.tolist()
        assert batch.ids[row, count:].eq(258).all() and batch.segments[row, count:].eq(0).all()
        assert batch.segments[row, :count].eq(1).all()
    assert batch.num_tokens == sum(map(len, documents))


@pytest.mark.slow
def test_real_worker_processes_give_what_this_process_gives(mixture: MakeSources) -> None:
    def through_loader(cursor: dict, count: int) -> list[PackedBatch]:
        found = torch.utils.data.DataLoader(
            make(mixture, cursor=cursor), batch_size=None, num_workers=2, multiprocessing_context="spawn"
        )
        return batches(iter(found), count)

    reference = through_loader({}, 8)
    assert [content(batch) for batch in reference] == [content(batch) for batch in batches(iter(make(mixture)), 8)]
    resumed = through_loader(latest(reference[:3]), 5)
    assert [content(batch) for batch in resumed] == [content(batch) for batch in reference[3:]]


@pytest.mark.parametrize("name", ["length", "rows", "num_streams", "pool", "seed"])
def test_geometry_of_which_no_batch_can_be_made_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"feed: {name} must be at least"):
        FeedOptions(**{name: -1})


def test_streams_that_cannot_be_dealt_are_refused_before_a_loader_starts() -> None:
    options = FeedOptions(num_streams=4)
    options.check_lanes(2, 2)
    options.check_lanes(4, 0)
    for ranks, workers in ((3, 0), (2, 4), (1, -1)):
        with pytest.raises(ConfigError, match=r"feed.*num_(streams|workers)"):
            options.check_lanes(ranks, workers)
