"""Word times are added where they lack, and taken away where they cannot be right, never silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.interfaces import Aligner
from stlm.prepare.stages import (
    AlignConfig,
    AlignStage,
    CheckWordsConfig,
    CheckWordsStage,
    EditTextConfig,
    EditTextStage,
    build_align,
)
from stlm.testing.contracts import StageContract
from stlm.testing.factories import make_corpus
from stlm.testing.fakes import EvenAligner
from stlm.types import Audio, Rejected, Utterance, Word


class TestAlign(StageContract):
    component = "align"

    @pytest.fixture
    def stage(self) -> AlignStage:
        return AlignStage(EvenAligner(), again=True)


class TestEditText(StageContract):
    component = "edit_text"

    @pytest.fixture
    def stage(self) -> EditTextStage:
        return EditTextStage(EditTextConfig(patterns=("word",), instead=("W",)))


FISHER = EditTextConfig(patterns=(r"\(\((.*?)\)\)", r"\[[^]]*\]"), instead=(r"\1", ""))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("(( i think )) so", "i think so"),
        ("[laughter] yes [noise]", "yes"),
        ("[noise]", None),
        ("as it is", "as it is"),
    ],
)
def test_marks_are_taken_out_of_a_transcript(text: str, wanted: str | None) -> None:
    (found,) = EditTextStage(FISHER).apply([spoken(text=text)])
    assert isinstance(found, Utterance) and found.text == wanted


def test_word_times_of_a_text_that_is_edited_are_taken_away_and_noted() -> None:
    done = make_corpus(1, seed=0)[0]
    stage = EditTextStage(EditTextConfig(patterns=(r"^\S+",), instead=("X",)))
    note, found = stage.apply([done])
    assert isinstance(note, Rejected) and "put edit_text before align" in note.reason
    assert isinstance(found, Utterance) and found.text and found.text.startswith("X ") and not found.words
    same = EditTextStage(EditTextConfig(patterns=("never there",)))
    assert list(same.apply([done])) == [done]


@pytest.mark.parametrize(("patterns", "instead"), [(("(",), ()), (("a", "b"), ("c",)), (("a",), (r"\1",))])
def test_patterns_that_are_none_are_refused(patterns: tuple[str, ...], instead: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="expected regular expressions, and none or as many texts"):
        EditTextStage(EditTextConfig(patterns=patterns, instead=instead))


class TestCheckWords(StageContract):
    component = "check_words"

    @pytest.fixture
    def stage(self) -> CheckWordsStage:
        return CheckWordsStage(CheckWordsConfig())


def spoken(id: str = "a", text: str | None = "One, two!", **more: object) -> Utterance:
    silence = Audio(samples=np.zeros(16000, np.float32), sample_rate=16000)
    return Utterance(id=id, audio=silence, text=text, **more)  # type: ignore[arg-type]


def test_speech_with_text_gets_words_and_the_rest_passes_by() -> None:
    stage = AlignStage(EvenAligner())
    done = make_corpus(1, seed=0)[0]
    assert done.words
    one, two, three, four = stage.apply([spoken(), spoken("b", None), Utterance(id="c", text="only text"), done])
    assert isinstance(one, Utterance) and [word.text for word in one.words] == ["One", "two"]
    assert [item.id for item in (two, three)] == ["b", "c"] and four is done
    assert not any(item.words for item in (two, three) if isinstance(item, Utterance))
    (again,) = AlignStage(EvenAligner(), again=True).apply([done])
    assert isinstance(again, Utterance) and again.words != done.words


def test_what_cannot_be_aligned_goes_on_without_words_and_is_noted() -> None:
    class Refuses(Aligner):
        def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
            raise DataError("no letters in the text")

    note, kept = AlignStage(Refuses()).apply([spoken()])
    assert isinstance(note, Rejected) and note.reason == "a: no letters in the text"
    assert note.kept_as == "utterance without word times"
    assert isinstance(kept, Utterance) and (kept.id, kept.text, kept.words) == ("a", "One, two!", ())


def word(text: str, start: float, end: float, place: int, score: float | None = None) -> Word:
    first, last = round(16000 * start), round(16000 * end)
    return Word(text=text, start=first, end=last, char_start=place, char_end=place + len(text), score=score)


GOOD = (word("One", 0.1, 0.3, 0, 0.9), word("two", 0.3, 0.6, 5, 0.5))


@pytest.mark.parametrize(
    ("words", "options", "reason"),
    [
        (GOOD, {}, None),
        (GOOD, {"least_score": 0.6}, "word 'two' at 0.30 s has score 0.5, expected at least 0.6"),
        (GOOD[:1], {}, "50% of the text's letters have times, expected at least 80%"),
        (GOOD[:1], {"coverage": 0.5}, None),
        ((GOOD[0], word("two", 0.3, 0.31, 5)), {}, "lasts 0.010 s, expected 0.02 to 3"),
        ((GOOD[0], word("two", 0.3, 0.9, 5)), {"longest": 0.5}, "lasts 0.600 s, expected 0.02 to 0.5"),
        ((GOOD[0], word("two", 0.3, 0.33, 5)), {}, "has 3 letters in 0.030 s, expected at most 50 a second"),
        ((GOOD[0], word("two", 0.3, 0.3, 5)), {"shortest": 0.0}, "has 3 letters in 0.000 s, expected at most 50"),
    ],
)
def test_doubtful_times_are_taken_away_with_a_reason(
    words: tuple[Word, ...], options: dict[str, float], reason: str | None
) -> None:
    item = spoken(words=words)
    found = list(CheckWordsStage(CheckWordsConfig(**options)).apply([item]))
    if reason is None:
        assert len(found) == 1 and found[0] is item
    else:
        note, kept = found
        assert isinstance(note, Rejected) and reason in note.reason and note.reason.startswith("a: ")
        assert isinstance(kept, Utterance) and kept.words == () and kept.text == item.text


class TestCheckWordsOfShard(StageContract):
    @pytest.fixture
    def stage(self) -> CheckWordsStage:
        return CheckWordsStage(CheckWordsConfig(worst=40))


def scored(id: str, *scores: float | None) -> Utterance:
    given = zip(GOOD, scores, strict=False)
    return spoken(id, words=tuple(replace(item, score=score) for item, score in given))


def test_the_worst_of_a_shard_lose_their_words_and_all_keep_their_order() -> None:
    corpus = [scored("a", 0.9, 0.5), scored("b", 0.2, None), scored("c", 0.4, 0.3), scored("d", 0.1, 0.9)]
    unscored, wrong, silent = scored("e", None, None), scored("f", 0.01), spoken("g")
    stage = CheckWordsStage(CheckWordsConfig(worst=50))
    found = list(stage.apply([*corpus, unscored, wrong, silent]))
    assert [item.id for item in found if isinstance(item, Utterance)] == list("abcdefg")
    assert [item.id for item in found if isinstance(item, Utterance) and item.words] == ["a", "d", "e"]
    notes = {item.id: item for item in found if isinstance(item, Rejected)}
    assert set(notes) == {"b", "c", "f"} and "50% of the text's letters" in notes["f"].reason
    assert notes["c"].reason == "c: its words have mean score 0.35, among the worst 50 % of 4 utterances of its shard"
    assert notes["c"].kept_as == "utterance without word times"


@pytest.mark.parametrize(("worst", "dropped"), [(0.0, ""), (33.0, ""), (34.0, "a"), (66.7, "ab"), (100.0, "abc")])
def test_the_share_of_the_worst_is_rounded_down_and_equals_go_by_their_place(worst: float, dropped: str) -> None:
    corpus = [scored(id, 0.5, 0.5) for id in "abc"]
    found = CheckWordsStage(CheckWordsConfig(worst=worst)).apply(corpus)
    assert "".join(item.id for item in found if isinstance(item, Rejected)) == dropped


def test_without_worst_nothing_is_held() -> None:
    def endless() -> Iterator[Utterance]:
        while True:
            yield scored("a", 0.5, 0.5)

    assert next(CheckWordsStage(CheckWordsConfig()).apply(endless())).id == "a"


def test_impossible_options_are_config_errors() -> None:
    with pytest.raises(ConfigError, match="expected a component: aligner="):
        build_align(AlignConfig())
    for options in ({"shortest": 4.0}, {"coverage": 1.5}, {"most_letters": 0.0}, {"worst": 101.0}, {"worst": -1.0}):
        with pytest.raises(ConfigError, match="check_words needs"):
            CheckWordsConfig(**options)
