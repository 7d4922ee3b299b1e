"""Broken sources, stages, runners, each caught by the law that it breaks."""

import itertools
from dataclasses import replace

import pytest

from stlm.errors import StlmError
from stlm.prepare import LocalRunner
from stlm.testing import fakes
from stlm.testing.factories import make_corpus
from stlm.types import Rejected

TICKS = itertools.count()


class Source(fakes.ListSource):
    """Honest."""

    def __init__(self):
        super().__init__([*make_corpus(5), Rejected(id="bad", reason="broken")])


class EveryWorkerReadsAll(Source):
    def utterances(self, shard=0, num_shards=1):
        yield from self.items


class LosesTheRest(Source):
    def utterances(self, shard=0, num_shards=1):
        yield from self.items[shard : len(self.items) // num_shards * num_shards : num_shards]


class OtherIdsPerShard(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield item if num_shards == 1 or isinstance(item, Rejected) else replace(item, text=f"{shard}")


class Tired(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield item if isinstance(item, Rejected) else replace(item, text=f"{next(TICKS)}")


class SameIds(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield replace(item, id="same")


class OnlyRejects(Source):
    def utterances(self, shard=0, num_shards=1):
        return iter([self.items[-1]])


class CountsWrong(Source):
    def __len__(self):
        return 99


class HoldsALambda(Source):
    def __init__(self):
        super().__init__()
        self.key = lambda item: item.id


class Stage(fakes.UppercaseStage):
    """Honest."""


class SwallowsRejects(Stage):
    def apply(self, utterances):
        return super().apply(item for item in utterances if not isinstance(item, Rejected))


class DropsOne(Stage):
    def apply(self, utterances):
        return itertools.islice(super().apply(utterances), 1, None)


class GivesAList(Stage):
    def apply(self, utterances):
        return list(super().apply(utterances))


class Numbers(Stage):
    def apply(self, utterances):
        for item in super().apply(utterances):
            yield item if isinstance(item, Rejected) else replace(item, speaker=str(next(TICKS)))


class AddsOne(Stage):
    def apply(self, utterances):
        yield from super().apply(utterances)
        yield make_corpus(1)[0]


class YieldsStrings(Stage):
    def apply(self, utterances):
        for item in super().apply(utterances):
            yield item.id


class Runner(LocalRunner):
    """Honest."""

    def __init__(self):
        super().__init__(num_workers=1)


class RunsTwice(Runner):
    def run(self, work, tasks):
        list(super().run(work, tasks))
        yield from super().run(work, tasks)


class Swallows(Runner):
    def run(self, work, tasks):
        for task in tasks:
            try:
                yield work(task)
            except StlmError:
                yield None


class AlwaysGivesOne(Runner):
    def run(self, work, tasks):
        yield from super().run(work, tasks)
        yield 7


PREPARE = [
    ("SourceContract", HoldsALambda, ("it_pickles",)),
    ("SourceContract", EveryWorkerReadsAll, ("shards_are_a_disjoint_cover",)),
    ("SourceContract", LosesTheRest, ("shards_are_a_disjoint_cover",)),
    ("SourceContract", OtherIdsPerShard, ("an_utterance_is_the_same_in_every_sharding",)),
    ("SourceContract", Tired, ("equal_arguments_give_equal_results",)),
    ("SourceContract", SameIds, ("ids_are_unique",)),
    ("SourceContract", OnlyRejects, ("it_yields_utterances_and_rejected_inputs",)),
    ("SourceContract", CountsWrong, ("its_length_is_known_or_zero",)),
    ("StageContract", SwallowsRejects, ("rejected_inputs_pass_through",)),
    ("StageContract", DropsOne, ("nothing_vanishes_without_a_word",)),
    ("StageContract", GivesAList, ("it_takes_any_iterable_and_gives_an_iterator",)),
    ("StageContract", Numbers, ("it_is_deterministic", "it_pickles")),
    ("StageContract", AddsOne, ("no_input_gives_no_output",)),
    ("StageContract", YieldsStrings, ("it_yields_utterances_and_rejected_inputs",)),
    ("RunnerContract", RunsTwice, ("every_task_runs_once",)),
    ("RunnerContract", Swallows, ("an_exception_in_a_task_is_raised_in_the_caller",)),
    ("RunnerContract", AlwaysGivesOne, ("no_task_gives_no_result", "every_task_gives_its_result")),
]


@pytest.mark.parametrize("case", PREPARE, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(PREPARE) == []
