"""Evaluation tasks ask for likelihoods of documents; they never see a tensor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stlm.types import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceItem:
    """One question: which candidate continues the prompt?

    Args:
        id: unique within the task.
        group: items that are resampled together by the bootstrap (the two halves of a mirrored pair).
        prompt: what is given; may be empty.
        candidates: what is compared, two or more.
        answer: index of the right candidate.
        tags: facets to report by ("direction": "S->T").
    """

    id: str
    group: str
    prompt: Sequence[Piece]
    candidates: Sequence[Sequence[Piece]]
    answer: int
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


class EvalTask(ABC):
    """A set of choice items.

    **Contract.** Items come in a fixed order. An oracle scorer reaches 100 % and, on tasks with two candidates, a
    constant scorer exactly 50 % (ties count one half).

    **Implement** ``items``. **For free**: batched scoring, sums and means, intervals, per-item records, contract tests.

    **Example**

    >>> from stlm.testing.fakes import LongerText
    >>> next(iter(LongerText().items())).answer
    1
    """

    @abstractmethod
    def items(self) -> Iterator[ChoiceItem]:
        """All items."""
