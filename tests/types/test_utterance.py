"""Cutting an utterance at its words: nothing is lost, nothing is doubled."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.errors import DataError
from stlm.testing.factories import EXPRESSIVE_STREAMS, make_spec, make_units
from stlm.types import Audio, AudioRef, Utterance, Word, text_boundaries
from stlm.types.utterance import frame_at


@st.composite
def spoken(draw, sample_rate: int = 16000) -> Utterance:
    """Words of any length, also none, anywhere in the audio; frames that can be told apart."""
    edges = sorted(draw(st.lists(st.integers(0, 5 * sample_rate), min_size=2, max_size=16)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    texts = [f"w{index}" for index in range(len(pairs))]
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1].tolist()
    words = tuple(
        Word(text=text, start=start, end=end, char_start=at, char_end=at + len(text))
        for text, (start, end), at in zip(texts, pairs, starts, strict=True)
    )
    length = draw(st.integers(edges[-1], 6 * sample_rate))
    rng = np.random.default_rng(0)
    streams = {}
    for name, hop in (("hubert", 640), ("pitch", 1280), ("odd", 441), ("style", 16000)):
        spec = make_spec(name, size=65536, hop=hop)
        streams[name] = make_units(spec, spec.num_frames(length * 16000 // sample_rate), rng, distinct=True)
    audio = AudioRef(uri="a.wav", sample_rate=sample_rate, num_samples=length)
    return Utterance(id="u", text=" ".join(texts), audio=audio, words=words, streams=streams)


@given(utterance=spoken(), data=st.data())
def test_cuts_are_a_disjoint_cover_of_all_frames(utterance: Utterance, data: st.DataObject) -> None:
    count = len(utterance.words)
    inner = data.draw(st.lists(st.integers(0, count), max_size=5))
    bounds = [0, *sorted(inner), count]
    slices = [utterance.slice(first, last) for first, last in itertools.pairwise(bounds)]
    for name, units in utterance.streams.items():
        joined = np.concatenate([part[name].codes for part in slices])
        np.testing.assert_array_equal(joined, units.codes)
        for part in slices:
            if len(part[name]):
                assert part[name].start == part[name].codes[0, 0], "a cut must keep its place on the clock"


@given(utterance=spoken(sample_rate=22050))
def test_a_frame_belongs_to_the_word_that_contains_its_midpoint(utterance: Utterance) -> None:
    """Computed anew with fractions; audio and units run at different rates."""
    for name, units in utterance.streams.items():
        spec = units.spec
        owner = {
            int(code): k for k in range(len(utterance.words)) for code in utterance.slice(k, k + 1)[name].codes[:, 0]
        }
        for frame in range(len(units)):
            middle = Fraction((2 * frame + 1) * spec.hop, 2 * spec.sample_rate)
            begun = [k for k, word in enumerate(utterance.words) if Fraction(word.start, 22050) <= middle]
            assert owner[frame] == (begun[-1] if begun else 0)


@given(sample=st.integers(0, 200_000), rate=st.sampled_from([8000, 16000, 22050, 44100]), hop=st.integers(1, 2000))
def test_the_first_frame_of_a_sample_is_exact(sample: int, rate: int, hop: int) -> None:
    spec = make_spec("x", hop=hop, size=10)
    frame = frame_at(sample, rate, make_units(spec, 0, np.random.default_rng(0)))
    middle = Fraction((2 * frame + 1) * hop, 2 * spec.sample_rate)
    assert middle >= Fraction(sample, rate)
    assert frame == 0 or middle - Fraction(hop, spec.sample_rate) < Fraction(sample, rate)


TEXTS = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "  ", "\n", " - ", "(", ' "']),
        st.sampled_from(["a", "it's", "Zoë", "x2"]),
        st.sampled_from(["", ".", ",", "?!", ")", ' …"']),
    ),
    min_size=1,
    max_size=8,
)


def place(parts: list[tuple[str, str, str]]) -> tuple[str, tuple[Word, ...]]:
    text, words = "", []
    for index, (before, word, after) in enumerate(parts):
        text += before
        start = len(text)
        text += word
        words.append(Word(text=word, start=index, end=index + 1, char_start=start, char_end=len(text)))
        text += after
    return text, tuple(words)


@given(parts=TEXTS)
def test_pieces_of_the_text_join_to_the_text(parts: list[tuple[str, str, str]]) -> None:
    text, words = place(parts)
    cuts = text_boundaries(text, words)
    assert len(cuts) == len(words) + 1 and cuts == sorted(cuts)
    pieces = [text[start:end] for start, end in itertools.pairwise(cuts)]
    assert "".join(pieces) == text
    for piece, word in zip(pieces, words, strict=True):
        assert word.text in piece


def test_a_word_owns_the_space_before_it_and_the_punctuation_after_it() -> None:
    text = 'He said: "No, never!" - and left.'
    spoken = ["He", "said", "No", "never", "and", "left"]
    places, cursor = [], 0
    for index, word in enumerate(spoken):
        start = text.index(word, cursor)
        cursor = start + len(word)
        places.append(Word(text=word, start=index, end=index, char_start=start, char_end=cursor))
    cuts = text_boundaries(text, tuple(places))
    pieces = [text[start:end] for start, end in itertools.pairwise(cuts)]
    assert pieces == ["He", " said:", ' "No,', ' never!"', " - and", " left."]


def test_text_without_words_has_no_pieces() -> None:
    assert text_boundaries("some text", ()) == [0]


def word(text: str, start: int, end: int, char_start: int = 0, char_end: int = 1) -> Word:
    return Word(text=text, start=start, end=end, char_start=char_start, char_end=char_end)


def utterance_of(*words: Word, text: str | None = "a b") -> Utterance:
    return Utterance(id="u1", text=text, audio=Audio(samples=np.zeros(100, np.float32), sample_rate=16000), words=words)


def test_words_must_be_in_order_and_apart() -> None:
    with pytest.raises(DataError, match=r"u1: word 'b' starts at sample 9, before the previous word ends \(10\)"):
        utterance_of(word("a", 0, 10), word("b", 9, 20, 2, 3))
    utterance_of(word("a", 0, 10), word("b", 10, 20, 2, 3))


def test_words_must_lie_within_the_audio() -> None:
    with pytest.raises(DataError, match=r"covers samples 90..101, expected an interval within 0..100"):
        utterance_of(word("a", 90, 101))
    with pytest.raises(DataError, match=r"covers samples 9..5"):
        utterance_of(word("a", 9, 5))


def test_words_must_lie_within_the_text_and_in_its_order() -> None:
    with pytest.raises(DataError, match=r"characters 2..9 of a text of 3"):
        utterance_of(word("a", 0, 1, 2, 9))
    with pytest.raises(DataError, match="'a' ends at character 1, before the previous word"):
        utterance_of(word("b", 0, 1, 2, 3), word("a", 1, 2, 0, 1))


def test_two_words_may_be_written_as_one() -> None:
    """ "20" is spoken as two words in some languages; the written form goes with the first."""
    utterance = utterance_of(word("twen", 0, 10, 0, 2), word("ty", 10, 20, 0, 2), text="20")
    assert text_boundaries("20", utterance.words) == [0, 2, 2]


def test_cutting_needs_the_audios_clock() -> None:
    spec = make_spec("hubert")
    utterance = Utterance(
        id="u1",
        streams={"hubert": make_units(spec, 5, np.random.default_rng(0))},
        words=(word("a", 0, 1), word("b", 1, 2)),
    )
    with pytest.raises(DataError, match="u1: words need the audio's sample rate"):
        utterance.slice(1, 2)


def test_streams_are_added_and_the_utterance_is_left_as_it_was() -> None:
    before = utterance_of()
    units = {spec.name: make_units(spec, 3, np.random.default_rng(0)) for spec in EXPRESSIVE_STREAMS}
    after = before.with_streams(units)
    assert set(after.streams) == {"style", "pitch", "hubert"} and after.has_speech and not before.has_speech
