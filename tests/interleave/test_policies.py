"""The built-in policies keep the contract, and do what the paper says they do."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError
from stlm.interleave import Parallel, Sentence, Unimodal, WordSpans, WordTranscript, word_spans
from stlm.testing.contracts import InterleaverContract
from stlm.testing.contracts.interleaver import spoken_shares
from stlm.testing.documents import plain
from stlm.testing.factories import EXPRESSIVE_STREAMS, make_corpus, make_utterance
from stlm.types import Marker, SpeechSpan, TextSpan, TextUnits, Utterance, Word, text_boundaries


class TestWordSpans(InterleaverContract):
    component = "word_spans"

    @pytest.fixture
    def interleaver(self):
        return WordSpans()


class TestWordSpansOfOneWord(InterleaverContract):
    @pytest.fixture
    def interleaver(self):
        return WordSpans(text_words=(1, 1), speech_words=(1, 1))


class TestUnimodalSpeech(InterleaverContract):
    component = "unimodal"

    @pytest.fixture
    def interleaver(self):
        return Unimodal(modality="speech")


class TestUnimodalText(InterleaverContract):
    @pytest.fixture
    def interleaver(self):
        return Unimodal(modality="text")


class TestWordTranscript(InterleaverContract):
    component = "word_transcript"
    shows_both = True

    @pytest.fixture
    def interleaver(self):
        return WordTranscript()


class TestParallel(InterleaverContract):
    component = "parallel"
    shows_both = True

    @pytest.fixture
    def interleaver(self):
        return Parallel()


class TestParallelOneWay(InterleaverContract):
    shows_both = True

    @pytest.fixture(params=["asr", "tts"])
    def interleaver(self, request):
        return Parallel(task=request.param)


class TestSentence(InterleaverContract):
    component = "sentence"

    @pytest.fixture
    def interleaver(self):
        return Sentence()


def lengths(policy: WordSpans, seeds: int = 40) -> list[list[tuple[str, int]]]:
    """(modality, words) of each span, for many documents of a long utterance."""
    utterance = make_utterance(1, num_words=200)
    cuts = text_boundaries(utterance.text or "", utterance.words)
    found = []
    for seed in range(seeds):
        spans, first = [], 0
        for span in policy.interleave(utterance, np.random.default_rng(seed)):
            if isinstance(span, TextSpan):
                last = cuts.index(cuts[first] + len(span.text))
            else:
                assert isinstance(span, SpeechSpan)
                end = span.streams["hubert"].start + len(span.streams["hubert"])
                last = next(k for k in range(first + 1, 201) if ends_at(utterance, k) == end)
            spans.append(("text" if isinstance(span, TextSpan) else "speech", last - first))
            first = last
        assert first == 200
        found.append(spans)
    return found


def ends_at(utterance: Utterance, word: int) -> int:
    units = utterance.slice(0, word)["hubert"]
    return units.start + len(units)


def test_spans_have_the_papers_lengths_and_alternate() -> None:
    """Section 3.1: text spans of 10 to 30 words, speech spans of 5 to 15, starting with either."""
    documents = lengths(WordSpans())
    assert {spans[0][0] for spans in documents} == {"text", "speech"}
    inner = [span for spans in documents for span in spans[:-1]]
    for kind, least, most in (("text", 10, 30), ("speech", 5, 15)):
        seen = [count for modality, count in inner if modality == kind]
        assert min(seen) == least and max(seen) == most, f"{kind}: both ends of the range must occur"
        assert len(set(seen)) > (most - least) * 0.8
    for spans in documents:
        assert all(one[0] != two[0] for one, two in itertools.pairwise(spans))
        assert spans[-1][1] <= {"text": 30, "speech": 15}[spans[-1][0]]


def test_ranges_of_words_are_inclusive() -> None:
    for spans in lengths(WordSpans(text_words=(3, 3), speech_words=(2, 2)), seeds=4):
        assert {span for span in spans[:-1]} == {("text", 3), ("speech", 2)}


@pytest.mark.parametrize("words", [(0, 3), (4, 3), (-1, 2)])
def test_empty_ranges_are_refused(words: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="speech_words must be"):
        WordSpans(speech_words=words)
    with pytest.raises(ConfigError, match="text_words must be"):
        word_spans.build(word_spans.Config(text_words=words))


def test_every_draw_is_another_document() -> None:
    utterance = make_utterance(1, num_words=80)
    drawn = [str(plain(WordSpans().interleave(utterance, np.random.default_rng(seed)))) for seed in range(20)]
    assert len(set(drawn)) >= 19


@pytest.mark.parametrize("policy", [WordSpans((1, 3), (1, 3)), Sentence()])
def test_the_text_of_an_interleaved_document_is_the_original_with_gaps(policy: WordSpans | Sentence) -> None:
    """Case, punctuation and spaces survive: text spans are stretches of the original in order."""
    for utterance in make_corpus(10, seed=5, streams=EXPRESSIVE_STREAMS):
        for seed in range(5):
            cursor = 0
            for span in policy.interleave(utterance, np.random.default_rng(seed)):
                if isinstance(span, TextSpan):
                    place = (utterance.text or "").index(span.text, cursor)
                    cursor = place + len(span.text)
                    assert place == 0 or span.text.startswith(" ")


def test_word_transcripts_pair_each_word_with_its_sound() -> None:
    utterance = make_utterance(2, num_words=6)
    for text_first in (True, False):
        document = WordTranscript(text_first=text_first).interleave(utterance, np.random.default_rng(0))
        kinds = [isinstance(span, TextSpan) for span in document]
        assert kinds == [text_first, not text_first] * 6
        text = "".join(span.text for span in document if isinstance(span, TextSpan))
        assert text == utterance.text
    firsts = {
        isinstance(WordTranscript().interleave(utterance, np.random.default_rng(seed))[0], TextSpan)
        for seed in range(20)
    }
    assert firsts == {True, False}


def test_parallel_documents_name_their_task_and_train_on_the_answer_alone() -> None:
    utterance = make_utterance(2)
    marker, speech, text = Parallel(task="asr").interleave(utterance, np.random.default_rng(0))
    assert marker == Marker(name="[ASR]", loss=False)
    assert isinstance(speech, SpeechSpan) and not speech.loss
    assert isinstance(text, TextSpan) and text.loss and text.text == utterance.text
    marker, text, speech = Parallel(task="tts").interleave(utterance, np.random.default_rng(0))
    assert marker == Marker(name="[TTS]", loss=False)
    assert isinstance(text, TextSpan) and not text.loss and isinstance(speech, SpeechSpan) and speech.loss
    everything = Parallel(task="asr", prompt_loss=True).interleave(utterance, np.random.default_rng(0))
    assert all(span.loss for span in everything)


def test_both_tasks_are_drawn_alike() -> None:
    utterance = make_utterance(2)
    names = Counter(Parallel().interleave(utterance, np.random.default_rng(seed))[0].name for seed in range(100))
    assert names["[ASR]"] + names["[TTS]"] == 100 and 30 < names["[ASR]"] < 70


def three_sentences() -> Utterance:
    """ "One two. Three! Four five" spoken at two words a second."""
    text = "One two. Three! Four five"
    words, cursor = [], 0
    for index, word in enumerate(["One", "two", "Three", "Four", "five"]):
        start = text.index(word, cursor)
        cursor = start + len(word)
        words.append(Word(text=word, start=index * 8000, end=index * 8000 + 8000, char_start=start, char_end=cursor))
    return replace(make_utterance(0, num_words=12), text=text, words=tuple(words))


def test_sentences_change_modality_at_their_ends_only() -> None:
    seen = set()
    for seed in range(60):
        document = Sentence().interleave(three_sentences(), np.random.default_rng(seed))
        seen.add(tuple(span.text if isinstance(span, TextSpan) else "~" for span in document))
    assert seen == {
        ("One two. Three! Four five",),
        ("One two. Three!", "~"),
        ("One two.", "~", " Four five"),
        ("One two.", "~"),
        ("~", " Three! Four five"),
        ("~", " Three!", "~"),
        ("~", " Four five"),
        ("~",),
    }


@pytest.mark.parametrize(("share", "kind"), [(0.0, TextSpan), (1.0, SpeechSpan)])
def test_a_share_of_nothing_or_all_leaves_one_span(share: float, kind: type) -> None:
    (span,) = Sentence(speech_share=share).interleave(three_sentences(), np.random.default_rng(0))
    assert isinstance(span, kind)


@pytest.mark.parametrize("policy", [WordSpans(), WordTranscript(), Sentence()])
def test_policies_say_what_they_need(policy: WordSpans | WordTranscript | Sentence) -> None:
    for lacking in (
        make_utterance(1, streams=()),
        make_utterance(1, with_words=False),
        make_utterance(1, with_text=False),
    ):
        assert not policy.accepts(lacking)
        with pytest.raises(DataError, match=f"utterance-1: {type(policy).__name__} needs text, units and word times"):
            policy.interleave(lacking, np.random.default_rng(0))


def test_unimodal_and_parallel_accept_what_they_can_show() -> None:
    only_text, only_speech = make_utterance(1, streams=()), make_utterance(1, with_text=False)
    assert Unimodal("text").accepts(only_text) and not Unimodal("text").accepts(only_speech)
    assert Unimodal("speech").accepts(only_speech) and not Unimodal("speech").accepts(only_text)
    assert not Parallel().accepts(only_text) and not Parallel().accepts(only_speech)
    with pytest.raises(DataError, match="Parallel needs text and units"):
        Parallel().interleave(only_text, np.random.default_rng(0))
    for make in (lambda: Unimodal("txt"), lambda: Parallel("translate")):
        with pytest.raises(ConfigError, match="must be"):
            make()


def test_text_ids_that_straddle_a_cut_are_dropped() -> None:
    """ "two." as one id cannot be cut before the full stop; the codec then encodes the text anew."""
    utterance = replace(
        three_sentences(),
        text_units=TextUnits(
            ids=np.arange(3, dtype=np.int32),
            char_offsets=np.array([[0, 8], [8, 17], [17, 25]], np.int32),
            fingerprint="f",
        ),
    )
    documents = [Sentence().interleave(utterance, np.random.default_rng(seed)) for seed in range(60)]
    spans = {
        span.text: None if span.units is None else span.units.ids.tolist()
        for document in documents
        for span in document
        if isinstance(span, TextSpan)
    }
    assert spans["One two."] == [0] and spans["One two. Three! Four five"] == [0, 1, 2]
    assert spans[" Three!"] is None and spans[" Four five"] is None and spans["One two. Three!"] is None


@pytest.mark.slow
@pytest.mark.parametrize("num_words", [12, 80])
@pytest.mark.parametrize(
    "policy", [WordSpans(), Sentence(), Sentence(speech_share=0.3)], ids=lambda item: type(item).__name__
)
def test_speech_has_its_share_of_the_words_within_one_percent(policy, num_words: int) -> None:
    expected = policy.expected_speech(num_words)
    assert spoken_shares(policy, num_words, draws=100_000).mean() == pytest.approx(expected, rel=0.01)


def test_spans_of_the_paper_give_speech_a_third_of_long_utterances_and_more_of_short_ones() -> None:
    policy = WordSpans()
    assert policy.expected_speech(100_000) == pytest.approx(10 / 30, rel=0.001)  # mean lengths 10 and 20
    assert policy.expected_speech(5) == 0.5  # never longer than its first span
    assert WordSpans((1, 1), (1, 1)).expected_speech(3) == 0.5
    assert WordSpans((1, 1), (2, 2)).expected_speech(4) == pytest.approx((3 / 4 + 2 / 4) / 2)  # by hand: SSTS, TSST
