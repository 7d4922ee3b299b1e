"""Laws of `Source`."""

from __future__ import annotations

import pickle
from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import Source
from stlm.testing.contracts.component import ComponentContract
from stlm.types import Audio, Rejected, Utterance


class SourceContract(ComponentContract):
    """Subclass with a fixture ``source``: a small one, between one and some dozens of utterances."""

    kind: ClassVar[str] = "source"

    def test_it_yields_utterances_and_rejected_inputs(self, source: Source) -> None:
        items = list(source.utterances())
        assert all(isinstance(item, Utterance | Rejected) for item in items)
        assert any(isinstance(item, Utterance) for item in items), "the source has no usable utterance"

    def test_ids_are_unique(self, source: Source) -> None:
        ids = [item.id for item in source.utterances() if isinstance(item, Utterance)]
        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("num_shards", [2, 3, 7])
    def test_shards_are_a_disjoint_cover(self, source: Source, num_shards: int) -> None:
        whole = sorted(label(item) for item in source.utterances())
        parts = [label(item) for shard in range(num_shards) for item in source.utterances(shard, num_shards)]
        assert sorted(parts) == whole

    def test_equal_arguments_give_equal_results(self, source: Source) -> None:
        for shard, num_shards in ((0, 1), (1, 2)):
            one, two = list(source.utterances(shard, num_shards)), list(source.utterances(shard, num_shards))
            assert [fingerprint(item) for item in one] == [fingerprint(item) for item in two]

    def test_an_utterance_is_the_same_in_every_sharding(self, source: Source) -> None:
        whole = {label(item): fingerprint(item) for item in source.utterances()}
        for item in source.utterances(1, 2):
            assert fingerprint(item) == whole[label(item)]

    def test_its_length_is_known_or_zero(self, source: Source) -> None:
        """Progress bars need it before anything is opened, so it may count inputs that turn out to be unusable."""
        items = list(source.utterances())
        usable = sum(isinstance(item, Utterance) for item in items)
        assert len(source) == 0 or usable <= len(source) <= len(items)

    def test_it_pickles(self, source: Source) -> None:
        again = pickle.loads(pickle.dumps(source))
        assert [label(item) for item in again.utterances()] == [label(item) for item in source.utterances()]


def label(item: Utterance | Rejected) -> tuple[str, str]:
    return type(item).__name__, item.id


def fingerprint(item: Utterance | Rejected) -> object:
    """An item as comparable values; audio in memory by its bytes."""
    if isinstance(item, Rejected):
        return item
    audio = item.audio
    sound = (audio.sample_rate, np.asarray(audio.samples).tobytes()) if isinstance(audio, Audio) else audio
    return (item.id, sound, item.text, item.words, item.speaker, dict(item.labels), dict(item.meta))
