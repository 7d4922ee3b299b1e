"""Parsing ids one by one gives what decoding them at once gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.codec import Codec, SpanEnd, StreamParser, TextDelta, UnitsDelta
from stlm.testing.documents import plain
from stlm.testing.factories import HUBERT, base_codec, codebook_codec, expressive_codec, two_layout_codec
from stlm.types import Marker, SpeechSpan, TextSpan, Units, UnitSpan

CODECS = {
    "base": base_codec(),
    "expressive": expressive_codec(),
    "codebooks": codebook_codec(),
    "two layouts": two_layout_codec(),
}


def parse(codec: Codec, ids) -> tuple[StreamParser, list]:
    parser = StreamParser(codec)
    deltas = [delta for id in ids for delta in parser.push(int(id))]
    return parser, deltas + parser.finish()


@st.composite
def any_ids(draw, codec: Codec) -> list[int]:
    """Ids as an untrained model writes them: whole stretches and single ids of every block, specials among them."""
    vocabulary = codec.format.vocabulary
    ids: list[int] = []
    for _ in range(draw(st.integers(0, 6))):
        block = draw(st.sampled_from(vocabulary.blocks))
        start = vocabulary.offset(block.name)
        ids += draw(st.lists(st.integers(start, start + block.num_ids - 1), max_size=6))
    return ids


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_the_spans_equal_those_of_decoding_at_once(name: str, data: st.DataObject) -> None:
    codec = CODECS[name]
    ids = data.draw(any_ids(codec))
    parser, deltas = parse(codec, ids)
    assert plain(parser.document) == plain(codec.decode(ids))
    ends = tuple(delta.span for delta in deltas if isinstance(delta, SpanEnd))
    assert plain(ends) == plain(parser.document)


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_deltas_add_up_to_their_span(name: str, data: st.DataObject) -> None:
    codec = CODECS[name]
    _, deltas = parse(codec, data.draw(any_ids(codec)))
    text, codes = "", []
    for delta in deltas:
        if isinstance(delta, TextDelta):
            assert delta.text
            text += delta.text
        elif isinstance(delta, UnitsDelta):
            codes += delta.units.code.tolist()
        elif isinstance(delta.span, TextSpan):
            assert text == delta.span.text
            text = ""
        elif isinstance(delta.span, UnitSpan):
            assert codes == delta.span.code.tolist()
            codes = []
        else:
            assert isinstance(delta.span, Marker)
    assert not text and not codes


def test_text_is_shown_while_it_is_written() -> None:
    codec = base_codec()
    parser = StreamParser(codec)
    ids = codec.encode((TextSpan(text="so"),), eos=False).ids.tolist()
    shown_so_far = [[delta.text for delta in parser.push(id)] for id in ids]
    assert shown_so_far == [[], [], [], ["s"], ["o"]]


def test_half_a_character_is_never_shown() -> None:
    codec = base_codec()
    ids = codec.encode((TextSpan(text="a🙂é!"),), eos=False).ids
    parser, deltas = parse(codec, ids)
    assert [delta.text for delta in deltas if isinstance(delta, TextDelta)] == ["a", "🙂", "é", "!"]
    assert parser.document == (TextSpan(text="a🙂é!"),)


def test_units_come_one_by_one_before_their_span_ends() -> None:
    codec = base_codec()
    units = Units(spec=HUBERT, codes=np.array([[5], [5], [6]], np.uint16))
    ids = codec.encode((SpeechSpan(streams={"hubert": units}),), bos=False, eos=False).ids
    parser = StreamParser(codec)
    kinds = [[type(delta).__name__ for delta in parser.push(int(id))] for id in ids]
    assert kinds == [[], ["UnitsDelta"], ["UnitsDelta"]]
    assert [type(delta).__name__ for delta in parser.finish()] == ["SpanEnd"]
    assert parser.finish() == []
