"""Preparation steps and the engines that run them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from stlm.types import Rejected, Utterance

Task = TypeVar("Task")
Result = TypeVar("Result")


class Stage(ABC):
    """A step of preparation: utterances in, utterances out (aligned, filtered, normalised).

    **Contract.** Deterministic; an utterance that cannot be used comes out as `Rejected`; `Rejected` passes through.

    **Implement** ``apply``. **For free**: it runs inside every runner, batched and resumable.

    **Example**

    >>> from stlm.testing.fakes import UppercaseStage
    >>> from stlm.types import Utterance
    >>> [u.text for u in UppercaseStage().apply([Utterance(id="a", text="hi")])]
    ['HI']
    """

    @abstractmethod
    def apply(self, utterances: Iterable[Utterance | Rejected]) -> Iterator[Utterance | Rejected]:
        """Transform a stream of utterances."""


class Runner(ABC):
    """Runs pure tasks on some machine or cluster.

    **Contract.** Calls ``work`` once for each task, in any order and place; yields results as they come; an exception
    in a task is raised in the caller. Tasks and results pickle.

    **Implement** ``run``. **For free**: `stlm prepare runner=NAME`.

    **Example**

    >>> from stlm.prepare import LocalRunner
    >>> sorted(LocalRunner(num_workers=1).run(abs, [-2, 1]))
    [1, 2]
    """

    @abstractmethod
    def run(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results of ``work(task)`` for all tasks, as they complete."""
