"""Broken interleavers, each caught by the law that it breaks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from stlm.interleave import Unimodal, WordSpans
from stlm.types import TextSpan

TICKS = itertools.count()


class Spans(WordSpans):
    """Short spans, so that every document has several."""

    def __init__(self):
        super().__init__((1, 3), (1, 3))

    def change(self, document: list, rng: np.random.Generator) -> list:
        return document

    def interleave(self, utterance, rng):
        return tuple(self.change(list(super().interleave(utterance, rng)), rng))


class DropsTheEnd(Spans):
    def change(self, document, rng):
        return document[:-1] if len(document) > 1 else document


class Repeats(Spans):
    def change(self, document, rng):
        return [*document, document[0]]


class Shuffles(Spans):
    def change(self, document, rng):
        return document[::-1]


class CutsAFrame(Spans):
    def change(self, document, rng):
        return [
            span
            if isinstance(span, TextSpan)
            else replace(span, streams={name: units.cut(0, len(units) - 1) for name, units in span.streams.items()})
            for span in document
        ]


class Remembers(Spans):
    def change(self, document, rng):
        return [*document, TextSpan(text=f" {next(TICKS)}")]


class DrawsGlobally(Spans):
    def change(self, document, rng):
        np.random.rand()
        return document


class ReturnsAList(Spans):
    def interleave(self, utterance, rng):
        return list(super().interleave(utterance, rng))


class AcceptsNothing(Spans):
    def accepts(self, utterance):
        return False


class SaysItNeverDraws(Spans):
    is_random = False


class ReadsMoreThanItSays(Unimodal):
    reads = frozenset({"streams"})

    def __init__(self):
        super().__init__("text")


class SpeaksLessThanItSays(Spans):
    def expected_speech(self, num_words):
        return super().expected_speech(num_words) + 0.2


class HidesALambda(Spans):
    def __init__(self):
        super().__init__()
        self.f = lambda: None


class WritesIntoTheUtterance(Spans):
    def interleave(self, utterance, rng):
        for units in utterance.streams.values():
            units.codes[:1] += 1
        return super().interleave(utterance, rng)


INTERLEAVE = [
    ("InterleaverContract", WritesIntoTheUtterance, ("the_utterance_is_left_as_it_was",)),
    ("InterleaverContract", DropsTheEnd, ("every_word_appears_once",)),
    ("InterleaverContract", Repeats, ("every_word_appears_once",)),
    ("InterleaverContract", Shuffles, ("every_word_appears_once",)),
    ("InterleaverContract", CutsAFrame, ("every_frame_of_a_shown_word_appears",)),
    ("InterleaverContract", Remembers, ("equal_generators_give_equal_documents", "no_state_is_kept_between_calls")),
    ("InterleaverContract", DrawsGlobally, ("only_the_given_generator_is_drawn_from",)),
    ("InterleaverContract", ReturnsAList, ("spans_are_text_raw_speech_or_markers",)),
    ("InterleaverContract", SaysItNeverDraws, ("a_policy_that_never_draws_gives_one_document",)),
    ("InterleaverContract", ReadsMoreThanItSays, ("it_looks_at_no_more_than_it_says",)),
    ("InterleaverContract", SpeaksLessThanItSays, ("speech_has_the_share_that_is_declared",)),
    ("InterleaverContract", HidesALambda, ("it_pickles",)),
]


@pytest.mark.parametrize("case", INTERLEAVE, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(INTERLEAVE) == []
