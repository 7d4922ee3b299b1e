"""Laws of `EvalTask`."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest

from stlm.audio import read_audio
from stlm.evals import ScoredItem, accuracy, score_items
from stlm.interfaces import ChoiceItem, EvalTask
from stlm.system import SpeechTextLM
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import tiny_system
from stlm.types import Audio, Piece, Speech, SpeechSpan, TextSpan

Scorer = Callable[[ChoiceItem, int], float]


class EvalTaskContract(ComponentContract):
    """Subclass with a fixture ``task``: a small one, of a few dozen items at most.

    Set ``mirrored = True`` if in every group each candidate is right as often as any other, so that a scorer blind to
    the prompt must get exactly chance. Optional: a fixture ``system`` whose format has the task's streams.
    """

    kind: ClassVar[str] = "eval_task"
    mirrored: ClassVar[bool] = False

    @pytest.fixture
    def system(self) -> SpeechTextLM:
        return tiny_system()

    def test_items_are_well_formed(self, task: EvalTask) -> None:
        items = list(task.items())
        assert items, "the task has no items"
        assert len({item.id for item in items}) == len(items), "item ids must be unique"
        for item in items:
            assert len(item.candidates) >= 2 and all(len(candidate) > 0 for candidate in item.candidates)
            assert 0 <= item.answer < len(item.candidates)
            assert all(isinstance(key, str) and isinstance(value, str) for key, value in item.tags.items())

    def test_items_come_in_a_fixed_order(self, task: EvalTask) -> None:
        assert [show(item) for item in task.items()] == [show(item) for item in task.items()]

    def test_candidates_differ(self, task: EvalTask) -> None:
        for item in task.items():
            shown = [show_pieces(candidate) for candidate in item.candidates]
            assert len(set(shown)) == len(shown), f"item {item.id} compares equal candidates"

    def test_an_oracle_reaches_100_per_cent(self, task: EvalTask) -> None:
        assert score(task, lambda item, index: float(index == item.answer)) == 100.0

    def test_a_constant_scorer_gets_exactly_chance(self, task: EvalTask) -> None:
        chance = float(np.mean([1 / len(item.candidates) for item in task.items()])) * 100
        assert score(task, lambda item, index: 0.25) == pytest.approx(chance, abs=1e-9)
        if all(len(item.candidates) == 2 for item in task.items()):
            assert score(task, lambda item, index: 0.25) == 50.0

    def test_a_scorer_blind_to_the_prompt_gets_exactly_chance(self, task: EvalTask) -> None:
        if not self.mirrored:
            pytest.skip("set mirrored = True if the groups of this task are mirrored")
        for salt in range(5):
            got = score(task, lambda item, index, salt=salt: taste(item.candidates[index], salt))
            assert got == pytest.approx(np.mean([1 / len(item.candidates) for item in task.items()]) * 100, abs=1e-9)

    def test_groups_of_a_mirrored_task_show_every_answer(self, task: EvalTask) -> None:
        if not self.mirrored:
            pytest.skip("set mirrored = True if the groups of this task are mirrored")
        groups: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for item in task.items():
            shown = [show_pieces(candidate) for candidate in item.candidates]
            groups[(item.group, *sorted(shown))][shown[item.answer]] += 1
        for (group, *candidates), answers in groups.items():
            assert {answers[candidate] for candidate in candidates} == {max(answers.values())}, group

    def test_a_model_can_score_it(self, task: EvalTask, system: SpeechTextLM) -> None:
        scored = score_items(system, task)
        assert [item.id for item in scored] == [item.id for item in task.items()]
        for item in scored:
            assert all(np.isfinite(value) and value < 0 for value in item.sums), item.id
            assert all(count > 0 for count in item.counts), f"a candidate of item {item.id} has nothing to score"


def score(task: EvalTask, scorer: Scorer) -> float:
    """Accuracy of a scorer that is no model, by both reductions, which must agree."""
    items = [
        ScoredItem(
            id=item.id,
            group=item.group,
            answer=item.answer,
            sums=tuple(scorer(item, index) for index in range(len(item.candidates))),
            counts=(1,) * len(item.candidates),
            tags=item.tags,
        )
        for item in task.items()
    ]
    by_sum, by_mean = accuracy(items, reduce="sum").accuracy, accuracy(items, reduce="mean").accuracy
    assert by_sum == by_mean
    return by_sum


def taste(candidate: Sequence[Piece], salt: int) -> float:
    """An arbitrary score of a candidate by its content alone."""
    digest = hashlib.sha256(f"{salt}{show_pieces(candidate)}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def show(item: ChoiceItem) -> tuple[object, ...]:
    candidates = [show_pieces(candidate) for candidate in item.candidates]
    return (item.id, item.group, show_pieces(item.prompt), *candidates, item.answer, tuple(sorted(item.tags.items())))


def show_pieces(pieces: Sequence[Piece]) -> str:
    """The content of pieces as a string; equal content gives equal strings."""
    return "|".join(show_piece(piece) for piece in pieces)


def show_piece(piece: Piece) -> str:
    if isinstance(piece, Speech):
        audio = piece.audio if isinstance(piece.audio, Audio) else read_audio(piece.audio)
        return f"speech {audio.sample_rate} {hashlib.sha256(audio.samples.tobytes()).hexdigest()}"
    if isinstance(piece, TextSpan):
        return f"text {piece.text}"
    if isinstance(piece, SpeechSpan):
        return f"units { {name: units.codes.tolist() for name, units in piece.streams.items()} }"
    return repr(piece)
