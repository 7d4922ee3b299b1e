"""The table of training data: what each corpus gave, to the token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stlm.feed import FeedOptions, FeedSource
from stlm.interfaces import PackedBatch
from stlm.interleave import Unimodal
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import ACCOUNTS, FitReport
from stlm.testing.factories import make_corpus, tiny_system, write_shards


def tokens_by_source(seen: Sequence[tuple[int, PackedBatch]]) -> Counter[int]:
    """Ids of each source in batches, from where each document came."""
    found: Counter[int] = Counter()
    for _, batch in seen:
        lengths = [int((row == number).sum()) for row in batch.segments for number in range(1, int(row.max()) + 1)]
        for length, origin in zip(lengths, batch.origins, strict=True):
            found[origin[0]] += length
    return found


@pytest.mark.parametrize("packing", ["best_fit", "split"])
def test_accounts_are_what_the_batches_held(train: Any, batches: Any, tmp_path: Path, packing: str) -> None:
    feed = {"num_streams": 2, "packing": packing}
    report: FitReport = train(tiny_system(), callbacks=[batches], feed=feed, max_steps=6, accumulate=2)
    written = json.loads((tmp_path / "run" / ACCOUNTS).read_text())
    expected = tokens_by_source(batches.seen)
    assert [item["name"] for item in written["corpora"]] == ["speech", "mixed"]
    assert [item["tokens"] for item in written["corpora"]] == [expected[0], expected[1]]
    assert [item["utterances"] for item in written["corpora"]] == [24, 24]
    assert [item["weight"] for item in written["corpora"]] == [0.5, 0.5]
    assert sum(item["share"] for item in written["corpora"]) == pytest.approx(1.0)
    assert written["steps"] == 6
    assert sum(report.tokens_by_block.values()) == sum(expected.values())
    assert written["tokens"] == {**report.tokens_seen, **report.tokens_by_block}


def test_a_small_corpus_is_read_more_than_once(
    train: Any, sources: list[FeedSource], batches: Any, tmp_path: Path
) -> None:
    corpus = make_corpus(4, seed=1, streams=tuple(tiny_system().codec.streams.values()))
    few = write_shards(tmp_path / "few", corpus, num_shards=1)
    mixture = [sources[0], FeedSource(name="few", shards=few, interleaver=Unimodal("speech"), weight=3.0)]
    report: FitReport = train(tiny_system(), mixture=mixture, callbacks=[batches], max_steps=12)
    large, small = report.corpora
    assert large.epochs < 1 < small.epochs
    assert small.share == pytest.approx(0.75, abs=0.1)
    epochs = {origin[1] for _, batch in batches.seen for origin in batch.origins if origin[0] == 1}
    assert max(epochs) <= small.epochs <= max(epochs) + 2


def test_accounts_go_on_over_a_resume(train: Any) -> None:
    straight: FitReport = train(tiny_system(), out="straight", max_steps=8)
    train(tiny_system(), max_steps=3)
    resumed: FitReport = train(tiny_system(), max_steps=8, resume=True)
    assert resumed.corpora == straight.corpora and resumed.tokens_by_block == straight.tokens_by_block


def test_of_two_cursors_of_a_stream_the_one_that_went_on_counts(
    sources: list[FeedSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a resume every rank holds the cursors of all streams, and goes on with its own."""

    def state(batches: int) -> dict[str, Any]:
        return {
            "batches": batches,
            "tokens_taken": {"0": 10 * batches, "1": batches},
            "stream": {"cursors": [[0, batches, 0], [1, 0, 0]]},
        }

    ranks = [{"0": state(6), "1": state(3)}, {"1": state(6), "0": state(3)}]

    def gather(into: list[Any], mine: Any) -> None:
        into[:] = ranks

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    codec = tiny_system().codec
    data = FeedDataModule(lambda: sources, lambda: codec, FeedOptions(num_streams=2))
    assert data._all_cursors() == {"0": state(6), "1": state(6)}
    assert [item.tokens for item in data.account()] == [120, 12]
    # six of its three row-groups a stream: two epochs; the other source has just begun its second
    assert [item.epochs for item in data.account()] == [2.0, 1.0]
