"""Laws of `Stage`."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import ClassVar

import pytest

from stlm.interfaces import Stage
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.contracts.source import fingerprint, label
from stlm.testing.factories import make_corpus
from stlm.types import Rejected, Utterance


class StageContract(ComponentContract):
    """Subclass with a fixture ``stage``.

    Optional: a fixture ``utterances`` where random utterances with audio, text and words do not suit.
    """

    kind: ClassVar[str] = "stage"

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        return make_corpus(5, seed=3)

    def test_it_yields_utterances_and_rejected_inputs(self, stage: Stage, utterances: list[Utterance]) -> None:
        assert all(isinstance(item, Utterance | Rejected) for item in stage.apply(utterances))

    def test_nothing_vanishes_without_a_word(self, stage: Stage, utterances: list[Utterance]) -> None:
        """What cannot be used comes out as `Rejected`."""
        assert len(list(stage.apply(utterances))) >= len(utterances)

    def test_rejected_inputs_pass_through(self, stage: Stage, utterances: list[Utterance]) -> None:
        rejected = Rejected(id="broken", reason="the file is empty", uri="broken.wav")
        out = list(stage.apply([utterances[0], rejected, *utterances[1:]]))
        assert rejected in out

    def test_it_is_deterministic(self, stage: Stage, utterances: list[Utterance]) -> None:
        one, two = list(stage.apply(utterances)), list(stage.apply(utterances))
        assert [fingerprint(item) for item in one] == [fingerprint(item) for item in two]

    def test_no_input_gives_no_output(self, stage: Stage) -> None:
        assert list(stage.apply([])) == []

    def test_it_takes_any_iterable_and_gives_an_iterator(self, stage: Stage, utterances: list[Utterance]) -> None:
        found = stage.apply(item for item in utterances)
        assert isinstance(found, Iterator)
        assert [label(item) for item in found] == [label(item) for item in stage.apply(utterances)]

    def test_it_pickles(self, stage: Stage, utterances: list[Utterance]) -> None:
        again = pickle.loads(pickle.dumps(stage))
        one, two = list(stage.apply(utterances)), list(again.apply(utterances))
        assert [fingerprint(item) for item in one] == [fingerprint(item) for item in two]
