"""Mirrored continuation over any corpus keeps the laws of evaluation tasks."""

from dataclasses import replace

import numpy as np
import pytest

from stlm.errors import ConfigError
from stlm.evals.tasks import MirroredContinuation
from stlm.evals.tasks.continuation import halve
from stlm.testing.contracts import EvalTaskContract
from stlm.testing.factories import make_corpus, make_utterance
from stlm.types import Audio, Speech, TextSpan, Utterance


class TestMirroredContinuation(EvalTaskContract):
    mirrored = True

    @pytest.fixture
    def task(self):
        return MirroredContinuation(make_corpus(6, seed=1))


class TestMirroredContinuationOfText(EvalTaskContract):
    mirrored = True

    @pytest.fixture
    def task(self):
        return MirroredContinuation(make_corpus(6, seed=1, streams=()))


class TestMirroredContinuationOfSpeechAlone(EvalTaskContract):
    mirrored = True

    @pytest.fixture
    def task(self):
        return MirroredContinuation(make_corpus(4, seed=1, with_text=False), directions=("S->S",))


def directions(utterances: list[Utterance]) -> set[str]:
    return {item.tags["direction"] for item in MirroredContinuation(utterances).items()}


def test_directions_are_those_that_the_data_allow() -> None:
    assert directions(make_corpus(2)) == {"T->T", "T->S", "S->T", "S->S"}
    assert directions(make_corpus(2, streams=())) == {"T->T"}
    assert directions(make_corpus(2, with_text=False)) == {"S->S"}
    assert directions(make_corpus(2, with_words=False)) == {"T->T", "S->S"}, "without word times halves may not match"
    one_of_each = [make_utterance(1), make_utterance(2, streams=())]
    assert directions(one_of_each) == {"T->T"}
    assert directions(make_corpus(1)) == set()


def test_both_halves_are_cut_at_one_word_and_nothing_is_lost() -> None:
    utterance = make_utterance(3)
    found = halve(utterance)
    (begin,), (end,) = found["T"]
    assert isinstance(begin, TextSpan) and isinstance(end, TextSpan) and begin.text + end.text == utterance.text
    (first,), (second,) = found["S"]
    assert isinstance(first, Speech) and isinstance(second, Speech) and isinstance(utterance.audio, Audio)
    joined = np.concatenate([first.audio.samples, second.audio.samples])
    np.testing.assert_array_equal(joined, utterance.audio.samples)
    middle = utterance.words[len(utterance.words) // 2]
    assert len(first.audio.samples) == middle.start and end.text.lstrip().startswith(middle.text)


def test_each_answer_is_the_ending_of_its_own_beginning() -> None:
    utterances = make_corpus(4, seed=2)
    whole = {utterance.text for utterance in utterances}
    for item in MirroredContinuation(utterances, directions=("T->T",)).items():
        (begin,), (end,) = item.prompt, item.candidates[item.answer]
        assert begin.text + end.text in whole
        (wrong,) = item.candidates[1 - item.answer]
        assert begin.text + wrong.text not in whole


def test_an_unknown_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="directions are T->T, T->S, S->T, S->S, got 'T-S'"):
        MirroredContinuation([], directions=("T-S",))


def test_text_that_cannot_be_halved_is_left_out() -> None:
    word = Utterance(id="a", text="word")
    assert "T" not in halve(word) and "T" not in halve(replace(word, text=""))


def test_empty_halves_are_left_out() -> None:
    utterance = make_utterance(1)
    late = replace(utterance, words=tuple(replace(word, start=0, end=0) for word in utterance.words))
    assert "S" not in halve(late) and not halve(late)["exact"]
    assert "S" not in halve(Utterance(id="a", audio=Audio(samples=np.zeros(1, np.float32), sample_rate=16000)))
    assert "T" not in halve(Utterance(id="a", text="word     "))
