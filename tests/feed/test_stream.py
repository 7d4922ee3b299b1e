"""One logical stream: order, mixture, resampling, and a cursor that resumes exactly."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.feed import FeedSource, LogicalStream
from stlm.feed.stream import DocumentRandom, Ref
from stlm.interfaces import Interleaver
from stlm.interleave import Unimodal, WordSpans
from stlm.store import ShardSet
from stlm.testing.factories import BASE_STREAMS, base_codec, make_corpus, make_utterance, write_shards
from stlm.testing.golden import assert_golden
from stlm.types import Utterance

MakeSources = Callable[[], list[FeedSource]]


def take(stream: LogicalStream, count: int) -> list[tuple[Ref, bytes]]:
    return [(ref, sequence.ids.tobytes()) for ref, sequence in islice(stream, count)]


def single(shards: Path, policy: Interleaver | None = None, part: str = "spoken") -> list[FeedSource]:
    return [FeedSource(name="only", shards=ShardSet(shards / part), interleaver=policy or Unimodal("speech"))]


def test_equal_seeds_give_equal_documents(mixture: MakeSources) -> None:
    one, two, other = (LogicalStream(mixture(), base_codec(), seed=seed) for seed in (5, 5, 6))
    first = take(one, 100)
    assert first == take(two, 100)
    assert first != take(other, 100)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 2.0, 1.0), (3.0, 0.0, 1.0)])
def test_sources_get_their_share_of_the_tokens(mixture: MakeSources, weights: tuple[float, ...]) -> None:
    sources = [
        FeedSource(name=source.name, shards=source.shards, interleaver=source.interleaver, weight=weight)
        for source, weight in zip(mixture(), weights, strict=True)
    ]
    stream = LogicalStream(sources, base_codec())
    seen, longest = np.zeros(3), 0
    for ref, sequence in islice(stream, 2000):
        seen[ref.source] += len(sequence)
        longest = max(longest, len(sequence))
        shortfall = np.array(weights) / sum(weights) * seen.sum() - seen
        assert shortfall.max() <= longest, "no source may fall further behind than one document"
    np.testing.assert_allclose(seen / seen.sum(), np.array(weights) / sum(weights), atol=0.01)
    assert seen.tolist() == stream.tokens_seen


def test_every_utterance_comes_once_an_epoch_in_another_order(shards: Path) -> None:
    stream = LogicalStream(single(shards), base_codec())
    epochs = [[ref for ref, _ in islice(stream, 24)] for _ in range(3)]
    for number, refs in enumerate(epochs):
        assert {ref.epoch for ref in refs} == {number}
        assert len({(ref.group, ref.row) for ref in refs}) == 24
    orders = [[(ref.group, ref.row) for ref in refs] for refs in epochs]
    assert orders[0] != orders[1] != orders[2]
    assert [group for group, _ in orders[0]] != sorted(group for group, _ in orders[0]), "groups must be shuffled"
    rows = [row for group, row in orders[0] if group == orders[0][0][0]]
    assert any([row for g, row in order if g == group] != [0, 1, 2] for order in orders for group in range(8)), rows


def test_interleaving_is_drawn_anew_in_every_epoch(shards: Path) -> None:
    stream = LogicalStream(single(shards, WordSpans((1, 4), (1, 4))), base_codec())
    drawn: dict[tuple[int, int], set[bytes]] = {}
    for ref, sequence in islice(stream, 24 * 5):
        drawn.setdefault((ref.group, ref.row), set()).add(sequence.ids.tobytes())
    assert np.mean([len(found) for found in drawn.values()]) > 3


def test_a_document_is_a_function_of_its_reference(mixture: MakeSources) -> None:
    stream, other = (LogicalStream(mixture(), base_codec(), seed=3) for _ in range(2))
    made = list(islice(stream, 60))
    for ref, sequence in reversed(made):
        np.testing.assert_array_equal(other.again(ref).ids, sequence.ids)


@pytest.mark.parametrize("num_streams", [2, 3])
def test_streams_divide_every_epoch_among_them(shards: Path, num_streams: int) -> None:
    streams = [
        LogicalStream(single(shards), base_codec(), index=index, num_streams=num_streams)
        for index in range(num_streams)
    ]
    refs = [ref for stream in streams for ref, _ in islice(stream, 40)]
    for epoch in (0, 1):
        places = Counter((ref.group, ref.row) for ref in refs if ref.epoch == epoch)
        assert max(places.values()) == 1
    assert len([ref for ref in refs if ref.epoch == 0]) == 24


def test_a_stream_resumes_exactly_after_every_document(mixture: MakeSources) -> None:
    """Among them the last document of each source's epoch; the state goes through JSON."""
    reference = LogicalStream(mixture(), base_codec(), seed=1)
    states, documents = [], []
    for _ in range(140):
        states.append(json.dumps(reference.state()))
        documents.append(take(reference, 1)[0])
    assert {ref.epoch for ref, _ in documents} >= {0, 1}
    for place in range(110):
        resumed = LogicalStream(mixture(), base_codec(), seed=1)
        resumed.load(json.loads(states[place]))
        assert take(resumed, 12) == documents[place : place + 12], f"after {place} documents"


def test_a_stream_resumes_at_the_end_of_an_epoch_of_its_only_source(shards: Path) -> None:
    reference = LogicalStream(single(shards), base_codec())
    take(reference, 24)
    resumed = LogicalStream(single(shards), base_codec())
    resumed.load(json.loads(json.dumps(reference.state())))
    assert take(resumed, 5) == take(reference, 5)


def test_a_used_stream_can_be_set_back(mixture: MakeSources) -> None:
    stream = LogicalStream(mixture(), base_codec())
    start = json.dumps(stream.state())
    first = take(stream, 50)
    stream.load(json.loads(start))
    assert take(stream, 50) == first


def mixed(tmp_path: Path, utterances: list[Utterance], group_size: int = 4) -> Path:
    write_shards(tmp_path / "mixed", utterances, num_shards=1, group_size=group_size)
    return tmp_path


def test_utterances_that_the_policy_cannot_use_are_passed_over(tmp_path: Path) -> None:
    corpus = [make_utterance(seed, streams=()) if seed % 3 else make_utterance(seed) for seed in range(12)]
    stream = LogicalStream(single(mixed(tmp_path, corpus), part="mixed"), base_codec())
    refs = [ref for ref, _ in islice(stream, 8)]
    used = {stream.sources[0].shards.group(ref.group).utterance(ref.row).id for ref in refs}
    assert used == {f"utterance-{seed}" for seed in (0, 3, 6, 9)}
    assert [ref.epoch for ref in refs] == [0] * 4 + [1] * 4


def test_a_group_of_which_nothing_can_be_used_is_passed_over(tmp_path: Path) -> None:
    """Two streams, two groups, one of them text alone: the stream that has it waits for an epoch with the other."""
    corpus = [make_utterance(seed, streams=() if seed < 4 else BASE_STREAMS) for seed in range(8)]
    root = mixed(tmp_path, corpus)
    for index in (0, 1):
        stream = LogicalStream(single(root, part="mixed"), base_codec(), index=index, num_streams=2)
        assert {ref.group for ref, _ in islice(stream, 10)} == {1}


def test_a_source_that_the_policy_cannot_use_at_all_says_so(shards: Path) -> None:
    stream = LogicalStream(single(shards, WordSpans(), part="texts"), base_codec())
    with pytest.raises(DataError, match=r"source 'only': WordSpans accepts no utterance of .*texts: it needs"):
        stream.next()


def test_too_few_groups_for_the_streams_say_so(shards: Path) -> None:
    with pytest.raises(ConfigError, match=r"'only' has 8 row-groups, fewer than the 9 logical streams"):
        LogicalStream(single(shards), base_codec(), num_streams=9)


@pytest.mark.parametrize("weights", [(), (0.0,), (1.0, -1.0)])
def test_weights_must_make_a_mixture(shards: Path, weights: tuple[float, ...]) -> None:
    found = single(shards)[0]
    with pytest.raises(ConfigError, match="mixture weights must be positive"):
        sources = [
            FeedSource(name="x", shards=found.shards, interleaver=found.interleaver, weight=weight)
            for weight in weights
        ]
        LogicalStream(sources, base_codec())


def test_the_generator_of_a_document_depends_on_nothing_before_it() -> None:
    one, two = DocumentRandom(7), DocumentRandom(7)
    expected = one.of(2, "b").integers(1 << 30, size=5).tolist()
    two.of(1, "a").integers(10, size=3)
    two.of(2, "b").random()
    two.of(5, "c").integers(3, dtype=np.int32)  # leaves half a word in the generator's buffer
    assert two.of(2, "b").integers(1 << 30, size=5).tolist() == expected
    keys = [(7, 2, "b"), (8, 2, "b"), (7, 3, "b"), (7, 2, "c")]
    drawn = {tuple(DocumentRandom(seed).of(epoch, id).integers(1 << 30, size=5)) for seed, epoch, id in keys}
    assert len(drawn) == 4


def test_only_the_fields_that_a_policy_reads_are_read(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = ShardSet.group

    def spy(self: ShardSet, index: int, fields: frozenset[str] | None = None):
        asked.append(fields)
        return original(self, index, fields)

    monkeypatch.setattr(ShardSet, "group", spy)
    stream = LogicalStream(single(shards), base_codec())
    ref, _ = stream.next()
    stream.again(ref)
    assert asked == [frozenset({"streams"})] * 2


def test_a_corpus_read_with_fewer_fields_gives_the_documents_of_the_whole(tmp_path: Path) -> None:
    codec = base_codec()
    corpus = make_corpus(6, seed=9)
    write_shards(tmp_path, corpus, num_shards=1, group_size=2)
    policy = WordSpans((1, 3), (1, 3))
    source = FeedSource(name="x", shards=ShardSet(tmp_path), interleaver=policy)
    for ref, sequence in islice(LogicalStream([source], codec, seed=4), 12):
        whole = source.shards.group(ref.group).utterance(ref.row)
        rng = DocumentRandom(4).of(ref.epoch, whole.id)
        np.testing.assert_array_equal(sequence.ids, codec.encode(policy.interleave(whole, rng)).ids)


def test_the_draws_of_a_document_are_those_of_before() -> None:
    """A run that was stopped before an update of NumPy must go on with the same documents after it."""
    found = {f"{epoch} {id}": DocumentRandom(7).of(epoch, id).integers(1000, size=6) for epoch in (0, 3) for id in "ab"}
    orders = {str(epoch): np.random.default_rng([7, 0, epoch]).permutation(8) for epoch in (0, 1)}
    assert_golden(Path(__file__).parents[1] / "golden" / "feed_draws.json", {"documents": found, "groups": orders})
