"""Documents to ids and back."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stlm.codec import Codec, merge
from stlm.errors import FormatError
from stlm.interleave import WordSpans
from stlm.testing.documents import plain_span
from stlm.testing.factories import (
    BASE_STREAMS,
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    HUBERT,
    MIMI,
    base_codec,
    base_format,
    codebook_codec,
    expressive_codec,
    expressive_format,
    make_codec,
    make_spec,
    make_utterance,
    two_layout_codec,
)
from stlm.testing.fakes import ByteText
from stlm.types import Document, Marker, SpeechSpan, TextSpan, TextUnits, Units, UnitSpan

CODECS = {
    "base": (base_codec(), BASE_STREAMS),
    "expressive": (expressive_codec(), EXPRESSIVE_STREAMS),
    "codebooks": (codebook_codec(), CODEBOOK_STREAMS),
    "no prefix": (
        Codec(replace(base_format(), after_marker="no_prefix"), ByteText(), {"hubert": HUBERT}),
        BASE_STREAMS,
    ),
    "legacy prefix": (
        Codec(
            replace(base_format(), after_marker="no_prefix", legacy_marker_prefix=True), ByteText(), {"hubert": HUBERT}
        ),
        BASE_STREAMS,
    ),
}
each_codec = pytest.mark.parametrize("name", CODECS)


@st.composite
def documents(draw, streams) -> Document:
    """Random documents: any text, whole utterances or cuts of them, markers."""
    spans = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(("text", "speech", "marker")))
        loss = draw(st.booleans())
        if kind == "text":
            text = draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=8))
            spans.append(TextSpan(text=draw(st.sampled_from(("", " "))) + text, loss=loss))
        elif kind == "marker":
            spans.append(Marker(name=draw(st.sampled_from(("[ASR]", "[TTS]"))), loss=loss))
        else:
            utterance = make_utterance(draw(st.integers(0, 50)), num_words=4, streams=streams)
            first, last = sorted((draw(st.integers(0, 3)), draw(st.integers(0, 4))))
            spans.append(SpeechSpan(streams=utterance.slice(first, last), loss=loss))
    return tuple(spans)


def normal(codec: Codec, document: Document) -> list[tuple[object, ...]]:
    """What survives: spans of one modality in a row join, and the space after a marker is not part of the text."""
    found: list[list] = []
    modality = None
    for span in document:
        if isinstance(span, Marker):
            found.append(["marker", span.name])
            modality = None
        elif isinstance(span, TextSpan):
            if modality == "text":
                found[-1][1] += span.text
            else:
                found.append(["text", span.text.removeprefix(" ")])
            modality = "text"
        else:
            merged = merge(span, codec.format.layout(span.layout))
            events = list(zip(merged.stream.tolist(), merged.codebook.tolist(), merged.code.tolist(), strict=True))
            if modality == "speech":
                found[-1][1] += events
            else:
                found.append(["speech", events])
            modality = "speech"
    # a modality that says nothing leaves nothing, except for the space that stands for empty text
    space = codec.format.after_marker == "space"
    kept = [item for item in found if item[0] == "marker" or item[1] or (space and item[0] == "text")]
    speech = [("events", "default", item[1], True) if item[0] == "speech" else item for item in kept]
    return [("text", item[1], None, True) if item[0] == "text" else tuple(item) for item in speech]


def shown(document: Document) -> list[tuple[object, ...]]:
    return [("marker", span.name) if isinstance(span, Marker) else plain_span(span) for span in document]


@each_codec
@given(data=st.data())
def test_decoding_gives_the_document_back(name: str, data: st.DataObject) -> None:
    codec, streams = CODECS[name]
    document = data.draw(documents(streams))
    ids = codec.encode(document).ids
    assert ids.dtype == np.int32
    assert shown(codec.decode(ids)) == normal(codec, document)


@each_codec
@given(data=st.data())
def test_what_was_decoded_encodes_to_the_same_ids(name: str, data: st.DataObject) -> None:
    """Few-shot prompts hold what a model wrote.

    Two exceptions: of two spaces after a marker one is lost, and spans that only an empty span kept apart join.
    """
    codec, streams = CODECS[name]
    document = codec.decode(codec.encode(data.draw(documents(streams))).ids)
    assume(not any(isinstance(span, TextSpan) and span.text.startswith(" ") for span in document))
    assume(not any(type(one) is type(two) is not Marker for one, two in pairwise(document)))
    again = codec.decode(codec.encode(document).ids)
    assert shown(again) == shown(document)
    np.testing.assert_array_equal(codec.encode(again).ids, codec.encode(document).ids)


@each_codec
@given(data=st.data())
def test_an_open_prompt_is_a_prefix_of_what_continues_it(name: str, data: st.DataObject) -> None:
    codec, streams = CODECS[name]
    prompt, more = data.draw(documents(streams)), data.draw(documents(streams))
    start, whole = codec.encode(prompt, eos=False), codec.encode(prompt + more)
    np.testing.assert_array_equal(whole.ids[: len(start)], start.ids)
    np.testing.assert_array_equal(whole.loss[: len(start)], start.loss)


@each_codec
@given(data=st.data())
def test_the_loss_of_a_span_covers_its_ids_and_its_marker(name: str, data: st.DataObject) -> None:
    codec, streams = CODECS[name]
    document = data.draw(documents(streams))
    sequence = codec.encode(document)
    assert len(sequence.loss) == len(sequence.ids) and not sequence.loss[0], "begin conditions, it is never predicted"
    start = len(codec.encode((), eos=False))
    for end, span in enumerate(document, 1):
        stop = len(codec.encode(document[:end], eos=False))
        assert (sequence.loss[start:stop] == span.loss).all()
        start = stop
    assert sequence.loss[-1] == (bool(document) and document[-1].loss)


def test_markers_stand_where_the_modality_changes() -> None:
    codec = base_codec()
    speech = SpeechSpan(streams={"hubert": units([3, 3, 4])})
    document = (TextSpan(text="a"), TextSpan(text=" b"), speech, Marker(name="[ASR]"), speech, TextSpan(text="c"))
    shown = [codec.format.vocabulary.show(int(id)) for id in codec.encode(document, bos=False, eos=False).ids]
    text = [f"[text:{byte}]" for byte in b" a b"]
    assert shown == [
        *("[Text]", *text),
        *("[Speech]", "[Hu3]", "[Hu4]"),
        *("[ASR]", "[Speech]", "[Hu3]", "[Hu4]"),
        *("[Text]", "[text:32]", "[text:99]"),
    ]


def units(codes, spec=HUBERT) -> Units:
    return Units(spec=spec, codes=np.array(codes, np.uint16)[:, None])


def test_begin_and_end_are_written_on_request() -> None:
    codec = base_codec()
    bos, eos = codec.format.bos, codec.format.eos
    document = (TextSpan(text="a"),)
    assert codec.encode(document).ids[[0, -1]].tolist() == [bos, eos]
    assert bos not in codec.encode(document, bos=False).ids and eos not in codec.encode(document, eos=False).ids
    assert codec.encode(()).ids.tolist() == [bos, eos]
    assert len(codec.encode((), bos=False, eos=False)) == 0


@pytest.mark.parametrize("text", ["[Hu3]", " [Speech][Hu3][Hu4]", "[Text]", "</s>", "[ASR] [En1]", "\x00\x01\x02"])
def test_user_text_never_yields_unit_or_marker_ids(text: str) -> None:
    for codec, _ in CODECS.values():
        ids = codec.encode((TextSpan(text=text),), bos=False, eos=False).ids
        assert codec.kind_of(ids).tolist() == [0, *[1] * (len(ids) - 1)]
        assert ids[0] == codec.format.vocabulary.id_of("[Text]")
        (span,) = codec.decode(ids)
        assert isinstance(span, TextSpan) and span.text == text.removeprefix(" ")


def test_units_of_another_encoder_are_refused() -> None:
    codec = base_codec()
    other = make_spec("hubert", size=501, seed=1)
    with pytest.raises(FormatError, match=f"'hubert'.*{other.fingerprint[:12]}.*{HUBERT.fingerprint[:12]}"):
        codec.encode((SpeechSpan(streams={"hubert": units([1], other)}),))
    with pytest.raises(FormatError, match="'hubert'"):
        expressive_codec().encode((SpeechSpan(streams={"hubert": units([1], other)}),))


def test_text_ids_of_another_tokenizer_are_refused() -> None:
    strange = TextUnits(ids=np.array([1], np.int32), char_offsets=np.array([[0, 1]], np.int32), fingerprint="f" * 64)
    with pytest.raises(FormatError, match="pre-encoded by tokenizer ffffffffffff"):
        base_codec().encode((TextSpan(text="a", units=strange),))


@pytest.mark.parametrize("name", ["base", "no prefix"])
def test_pre_encoded_text_gives_the_ids_of_fresh_text(name: str) -> None:
    codec, streams = CODECS[name]
    policy = WordSpans(text_words=(1, 3), speech_words=(1, 2))
    for seed in range(30):
        utterance = make_utterance(seed, streams=streams)
        prepared = replace(utterance, text_units=codec.encode_text(utterance.text or ""))
        fresh = policy.interleave(utterance, np.random.default_rng(seed))
        ready = policy.interleave(prepared, np.random.default_rng(seed))
        assert any(isinstance(span, TextSpan) and span.units is not None for span in ready)
        np.testing.assert_array_equal(codec.encode(ready).ids, codec.encode(fresh).ids)


def test_offsets_of_a_whole_text_point_into_the_text_itself() -> None:
    for name, text in (("base", "hello you"), ("base", " hello"), ("no prefix", " hello"), ("no prefix", "hello")):
        encoded = CODECS[name][0].encode_text(text)
        ids, offsets = encoded.ids, encoded.char_offsets
        assert offsets.min() >= 0 and offsets.max() == len(text)
        for id, (start, end) in zip(ids, offsets, strict=True):
            assert text[start:end] in ("", chr(id))


def test_unknown_ids_are_an_error() -> None:
    codec = base_codec()
    with pytest.raises(FormatError, match=f"0..{len(codec.format.vocabulary) - 1}, got 5..99999"):
        codec.decode([5, 99999])


def test_begin_end_and_padding_leave_no_span() -> None:
    codec = base_codec()
    format = codec.format
    inner = codec.encode((TextSpan(text="ab"),), bos=False, eos=False).ids.tolist()
    ids = [format.pad, format.pad, format.bos, *inner[:2], format.pad, *inner[2:], format.eos, format.pad]
    assert codec.decode(ids) == (TextSpan(text="ab"),)
    assert codec.decode([format.bos, format.eos]) == () and codec.decode([]) == ()


def test_the_string_view_shows_markers_only_between_modalities() -> None:
    codec = base_codec()
    speech = SpeechSpan(streams={"hubert": units([28, 28, 9])})
    assert codec.to_string((speech,)) == "[Hu28][Hu9]"
    assert codec.to_string((TextSpan(text="hi"),)) == "hi"
    assert codec.to_string((TextSpan(text="hi"), speech)) == "[Text]hi[Speech][Hu28][Hu9]"
    assert codec.to_string((Marker(name="[ASR]"), speech, TextSpan(text="hi"))) == "[ASR][Speech][Hu28][Hu9][Text]hi"


def test_the_fingerprint_names_everything_that_decides_ids() -> None:
    base = base_codec().fingerprint
    other_stream = make_codec(base_format(), [make_spec("hubert", size=501, seed=1)]).fingerprint
    other_format = Codec(replace(base_format(), after_marker="no_prefix"), ByteText(), {"hubert": HUBERT}).fingerprint

    class OtherText(ByteText):
        fingerprint = "another"

    other_text = Codec(base_format(), OtherText(), {"hubert": HUBERT}).fingerprint
    assert base == base_codec().fingerprint
    assert len({base, other_stream, other_format, other_text}) == 4


def test_what_does_not_fit_the_format_is_refused_when_the_codec_is_made() -> None:
    with pytest.raises(FormatError, match=r"stream 'pitch'.*only \['hubert'\]"):
        make_codec(expressive_format(), [HUBERT])
    with pytest.raises(FormatError, match=r"codebooks \(502,\), block 'hubert' holds 1 of 501"):
        make_codec(base_format(), [make_spec("hubert", size=502)])
    with pytest.raises(FormatError, match="holds 1 of 501"):
        make_codec(base_format(), [make_spec("hubert", size=10, codebooks=2)])

    class LargeText(ByteText):
        vocab_size = 1000

    with pytest.raises(FormatError, match="1000 ids, the format's text block holds 259"):
        Codec(base_format(), LargeText(), {"hubert": HUBERT})


def test_semantic_and_acoustic_units_follow_each_other_in_one_document() -> None:
    codec = two_layout_codec()
    utterance = make_utterance(3, streams=(HUBERT, MIMI))
    document = (
        TextSpan(text="hi"),
        SpeechSpan(streams={"hubert": utterance.streams["hubert"]}),
        SpeechSpan(streams={"mimi": utterance.streams["mimi"]}, layout="acoustic"),
    )
    text, semantic, acoustic = codec.decode(codec.encode(document).ids)
    assert text == TextSpan(text="hi")
    assert isinstance(semantic, UnitSpan) and semantic.layout == "default"
    assert isinstance(acoustic, UnitSpan) and acoustic.layout == "acoustic"
    np.testing.assert_array_equal(acoustic.code.reshape(-1, 4), utterance.streams["mimi"].codes)
    again = codec.decode(codec.encode((text, semantic, acoustic)).ids)
    assert shown(again) == shown((text, semantic, acoustic))


def test_an_unknown_layout_is_named_with_a_suggestion() -> None:
    span = SpeechSpan(streams={"mimi": make_utterance(3, streams=(MIMI,)).streams["mimi"]}, layout="acustic")
    with pytest.raises(FormatError, match=r"'acustic'.*did you mean 'acoustic'"):
        two_layout_codec().encode((span,))


def test_the_legacy_prefix_stands_between_the_begin_id_and_the_first_marker() -> None:
    codec = CODECS["legacy prefix"][0]
    plain_codec = CODECS["no prefix"][0]
    document = (TextSpan(text="hi"),)
    ids, without = codec.encode(document).ids.tolist(), plain_codec.encode(document).ids.tolist()
    space = [id + codec.text_offset for id in codec.text_encoder.encode_ids(" ")]
    assert ids == [*without[:1], *space, *without[1:]]
    assert not codec.encode(document).loss[: 1 + len(space)].any()
    assert codec.decode(ids) == document
    assert "legacy_marker_prefix" in codec.format.as_dict()
    assert "legacy_marker_prefix" not in plain_codec.format.as_dict(), "hashes of other formats stay what they were"
