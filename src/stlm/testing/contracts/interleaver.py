"""Laws of `Interleaver`."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import Interleaver
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.documents import plain
from stlm.testing.factories import make_corpus, make_spec
from stlm.types import Document, Marker, SpeechSpan, TextSpan, Utterance

DRAWS = 12


class InterleaverContract(ComponentContract):
    """Subclass with a fixture ``interleaver``.

    Set ``shows_both = True`` if the policy shows every word in text and in speech. Optional: a fixture ``utterances``
    with utterances that it accepts; words must read "word0", "word1", … and frame i of each stream must have code i
    (``stlm.testing.factories.make_utterance(distinct=True)`` makes such), so that the laws can tell them apart.
    """

    kind: ClassVar[str] = "interleaver"
    shows_both: ClassVar[bool] = False

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        fast, slow = make_spec("hubert", size=60_000), make_spec("pitch", size=60_000, hop=1280)
        streams = (fast, slow)
        return [
            *make_corpus(5, seed=1, most_words=70, streams=streams, distinct=True),
            *make_corpus(1, seed=2, least_words=1, most_words=1, streams=streams, distinct=True),
            *make_corpus(1, seed=3, streams=(fast,), distinct=True, with_text=False),
            *make_corpus(1, seed=4, streams=(), distinct=True),
        ]

    @pytest.fixture
    def accepted(self, interleaver: Interleaver, utterances: list[Utterance]) -> list[Utterance]:
        found = [utterance for utterance in utterances if interleaver.accepts(utterance)]
        assert found, "the policy accepts none of the contract's utterances: override the fixture `utterances`"
        return found

    def test_equal_generators_give_equal_documents(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        for utterance, seed in draws(accepted):
            one = interleaver.interleave(utterance, np.random.default_rng(seed))
            two = interleaver.interleave(utterance, np.random.default_rng(seed))
            assert plain(one) == plain(two)

    def test_a_policy_that_never_draws_gives_one_document(
        self, interleaver: Interleaver, accepted: list[Utterance]
    ) -> None:
        """The feed spares such a policy its generator."""
        for utterance in accepted:
            found = [plain(interleaver.interleave(utterance, np.random.default_rng(seed))) for seed in range(DRAWS)]
            assert interleaver.is_random or found == found[:1] * DRAWS

    def test_it_looks_at_no_more_than_it_says(self, interleaver: Interleaver, utterances: list[Utterance]) -> None:
        """The feed reads the fields of ``reads`` from the shards and leaves the others empty."""
        assert interleaver.reads <= {entry.name for entry in fields(Utterance)}
        for utterance in utterances:
            read = {name: getattr(utterance, name) for name in interleaver.reads | {"id"}}
            alone = Utterance(**read)
            assert interleaver.accepts(alone) == interleaver.accepts(utterance)
            if interleaver.accepts(utterance):
                one, two = (interleaver.interleave(item, np.random.default_rng(3)) for item in (alone, utterance))
                assert plain(one) == plain(two)

    def test_no_state_is_kept_between_calls(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        first = [
            plain(interleaver.interleave(utterance, np.random.default_rng(seed))) for utterance, seed in draws(accepted)
        ]
        backwards = reversed(list(draws(accepted)))
        again = [plain(interleaver.interleave(utterance, np.random.default_rng(seed))) for utterance, seed in backwards]
        assert first == again[::-1]

    def test_only_the_given_generator_is_drawn_from(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        before = np.random.get_state(legacy=False)
        interleaver.interleave(accepted[0], np.random.default_rng(0))
        after = np.random.get_state(legacy=False)
        assert str(before) == str(after), "the policy draws from NumPy's global generator"

    def test_spans_are_text_raw_speech_or_markers(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        for utterance, seed in draws(accepted):
            document = interleaver.interleave(utterance, np.random.default_rng(seed))
            assert isinstance(document, tuple) and document
            for span in document:
                assert isinstance(span, Marker | TextSpan | SpeechSpan)
                if isinstance(span, SpeechSpan):
                    for name, units in span.streams.items():
                        assert units.spec == utterance.streams[name].spec

    def test_every_word_appears_once(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        for utterance, seed in draws(accepted):
            document = interleaver.interleave(utterance, np.random.default_rng(seed))
            written, spoken = words_in_text(document), words_in_speech(document, owners_of(utterance))
            wanted = range(len(re.findall(r"word\d+", utterance.text or "")))
            if self.shows_both:
                assert written == list(wanted) and (spoken == list(wanted) or not utterance.words)
            elif utterance.words:
                counts = Counter(written) + Counter(spoken)
                assert counts == dict.fromkeys(wanted, 1)
            assert written == sorted(written) and spoken == sorted(spoken), "words must keep their order"

    def test_every_frame_of_a_shown_word_appears(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        for utterance, seed in draws(accepted):
            document = interleaver.interleave(utterance, np.random.default_rng(seed))
            spans = [span for span in document if isinstance(span, SpeechSpan)]
            words = words_in_speech(document, owners_of(utterance))
            for name, units in utterance.streams.items():
                shown = [int(code) for span in spans if name in span.streams for code in span.streams[name].codes[:, 0]]
                if not utterance.words:
                    expected = list(range(len(units))) if spans else []
                else:
                    expected = [
                        int(code) for word in words for code in utterance.slice(word, word + 1)[name].codes[:, 0]
                    ]
                assert shown == expected

    @pytest.mark.parametrize("num_words", [1, 12, 60])
    def test_speech_has_the_share_that_is_declared(self, interleaver: Interleaver, num_words: int) -> None:
        expected = interleaver.expected_speech(num_words)
        if expected is None:
            pytest.skip("the policy does not say which share of the words is speech")
        shares = spoken_shares(interleaver, num_words, draws=500)
        error = max(shares.std() / len(shares) ** 0.5, 1e-9)
        assert abs(shares.mean() - expected) < 5 * error, f"{shares.mean():.3f}, declared {expected:.3f}"

    def test_the_utterance_is_left_as_it_was(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        for utterance in accepted:
            before = pickle.dumps(utterance)
            interleaver.interleave(utterance, np.random.default_rng(0))
            assert pickle.dumps(utterance) == before

    def test_it_pickles(self, interleaver: Interleaver, accepted: list[Utterance]) -> None:
        again = pickle.loads(pickle.dumps(interleaver))
        one = interleaver.interleave(accepted[0], np.random.default_rng(5))
        assert plain(one) == plain(again.interleave(accepted[0], np.random.default_rng(5)))


def draws(utterances: list[Utterance]) -> Iterator[tuple[Utterance, int]]:
    """Every utterance with a dozen seeds."""
    for utterance in utterances:
        for seed in range(DRAWS):
            yield utterance, seed


def spoken_shares(interleaver: Interleaver, num_words: int, *, draws: int) -> np.ndarray:
    """``float64[draws]``: of the words that a random document of an utterance of so many shows, the share in speech."""
    streams = (make_spec("hubert", size=60_000),)
    (utterance,) = make_corpus(1, least_words=num_words, most_words=num_words, streams=streams, distinct=True)
    owners, rng = owners_of(utterance), np.random.default_rng(0)
    shares = np.zeros(draws)
    for place in range(draws):
        document = interleaver.interleave(utterance, rng)
        spoken = len(words_in_speech(document, owners))
        shares[place] = spoken / (spoken + len(words_in_text(document)))
    return shares


def words_in_text(document: Document) -> list[int]:
    """Numbers of the words in the text spans, in order."""
    return [
        int(number) for span in document if isinstance(span, TextSpan) for number in re.findall(r"word(\d+)", span.text)
    ]


Owners = tuple[str, dict[int, int]]
"""The fastest stream of an utterance whose codes are all different, and the word that owns each code."""


def owners_of(utterance: Utterance) -> Owners:
    if not utterance.streams:
        return "", {}
    name = max(utterance.streams, key=lambda key: utterance.streams[key].spec.frame_rate_hz)
    words = range(len(utterance.words))
    return name, {int(code): word for word in words for code in utterance.slice(word, word + 1)[name].codes[:, 0]}


def words_in_speech(document: Document, owners: Owners) -> list[int]:
    """Numbers of the words whose frames the speech spans show, in order."""
    name, owner = owners
    found: list[int] = []
    for span in document:
        if isinstance(span, SpeechSpan) and name in span.streams:
            words = [owner[code] for code in span.streams[name].codes[:, 0].tolist() if code in owner]
            found.extend(word for index, word in enumerate(words) if index == 0 or word != words[index - 1])
    return found
