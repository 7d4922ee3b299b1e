"""Aligning undoes merging, up to what deduplication drops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.codec import align, merge
from stlm.errors import DataError
from stlm.testing.factories import (
    BASE_STREAMS,
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    base_format,
    codebook_format,
    expressive_codec,
    expressive_format,
    make_utterance,
)
from stlm.types import SpeechLayout, SpeechSpan, StreamRule, UnitSpan

EXPRESSIVE = expressive_format().layout("default")


def span_of(seed: int, streams, words: int = 5) -> SpeechSpan:
    return SpeechSpan(streams=make_utterance(seed, num_words=words, streams=streams).streams)


def unit_span(stream, code, codebook=None, frame=None) -> UnitSpan:
    return UnitSpan(
        stream=np.array(stream, np.uint8),
        codebook=np.array([0] * len(code) if codebook is None else codebook, np.uint8),
        code=np.array(code, np.uint16),
        frame=None if frame is None else np.array(frame, np.int32),
    )


def held_by_time(span: SpeechSpan, name: str, rate: float, anchor_frames: np.ndarray) -> np.ndarray:
    """The value of a stream at the onset of each anchor frame, computed from the clock alone."""
    codes = span.streams[name].codes
    onsets = np.arange(len(codes)) / rate
    last = np.searchsorted(onsets, anchor_frames / 24.99, side="right") - 1
    return codes[np.maximum(last, 0)]


@given(seed=st.integers(0, 2000))
def test_one_stream_comes_back_frame_by_frame(seed: int) -> None:
    span, layout = span_of(seed, BASE_STREAMS), base_format().layout("default")
    aligned = align(merge(span, layout), layout)
    assert aligned.durations is not None and (aligned.durations > 0).all()
    codes = np.repeat(aligned.streams["hubert"], aligned.durations, axis=0)
    original = span.streams["hubert"].codes
    np.testing.assert_array_equal(codes, original[: len(codes)])
    # all that is lost is how long the last unit lasts
    assert len(np.unique(original[len(codes) - 1 :])) == 1


@given(seed=st.integers(0, 2000))
def test_pitch_and_style_are_held_onto_each_anchor_unit(seed: int) -> None:
    span = span_of(seed, EXPRESSIVE_STREAMS)
    merged = merge(span, EXPRESSIVE)
    aligned = align(merged, EXPRESSIVE)
    assert merged.frame is not None
    frames = merged.frame[merged.stream == EXPRESSIVE.anchor]
    np.testing.assert_array_equal(aligned.streams["hubert"], span.streams["hubert"].codes[frames])
    np.testing.assert_array_equal(aligned.streams["pitch"], held_by_time(span, "pitch", 12.5, frames))
    np.testing.assert_array_equal(aligned.streams["style"], held_by_time(span, "style", 1.0, frames))


@given(seed=st.integers(0, 2000))
def test_frame_level_speech_keeps_every_frame(seed: int) -> None:
    span = span_of(seed, EXPRESSIVE_STREAMS)
    aligned = align(span, EXPRESSIVE)
    count = len(span.streams["hubert"])
    np.testing.assert_array_equal(aligned.streams["hubert"], span.streams["hubert"].codes)
    np.testing.assert_array_equal(aligned.streams["pitch"], held_by_time(span, "pitch", 12.5, np.arange(count)))
    assert aligned.durations is not None and aligned.durations.tolist() == [1] * count


@given(seed=st.integers(0, 2000))
def test_decoded_ids_align_like_the_merged_span(seed: int) -> None:
    """Ids know no times, so only the durations are missing."""
    span = span_of(seed, EXPRESSIVE_STREAMS)
    codec = expressive_codec()
    (decoded,) = codec.decode(codec.encode((span,)).ids)
    assert isinstance(decoded, UnitSpan)
    got, expected = align(decoded, EXPRESSIVE), align(merge(span, EXPRESSIVE), EXPRESSIVE)
    assert got.durations is None
    for name in ("style", "pitch", "hubert"):
        np.testing.assert_array_equal(got.streams[name], expected.streams[name])


def test_codebooks_come_back_as_columns() -> None:
    span, layout = span_of(3, CODEBOOK_STREAMS), codebook_format().layout("default")
    np.testing.assert_array_equal(align(merge(span, layout), layout).streams["mimi"], span.streams["mimi"].codes)


def test_the_start_is_filled_with_the_first_value_seen() -> None:
    style, pitch, hubert = 0, 1, 2
    aligned = align(unit_span([hubert, hubert, pitch, hubert, style, hubert], [10, 11, 5, 12, 3, 13]), EXPRESSIVE)
    assert aligned.streams["hubert"][:, 0].tolist() == [10, 11, 12, 13]
    assert aligned.streams["pitch"][:, 0].tolist() == [5, 5, 5, 5]
    assert aligned.streams["style"][:, 0].tolist() == [3, 3, 3, 3]


def test_a_new_value_holds_from_the_next_anchor_unit_on() -> None:
    aligned = align(unit_span([1, 2, 1, 1, 2, 2], [5, 10, 6, 7, 11, 12]), EXPRESSIVE)
    assert aligned.streams["pitch"][:, 0].tolist() == [5, 7, 7]
    assert "style" not in aligned.streams


def test_speech_without_anchor_units_cannot_be_spoken() -> None:
    with pytest.raises(DataError, match=r"'hubert'.*2 units of other streams"):
        align(unit_span([0, 1], [1, 2]), EXPRESSIVE)


def test_speech_that_lacks_a_lower_codebook_cannot_be_spoken() -> None:
    """A model can stop, or stray, in the middle of a frame."""
    layout = codebook_format().layout("default")
    with pytest.raises(DataError, match="codebook 2 but none of codebook 1"):
        align(unit_span([0, 0], [3, 4], codebook=[0, 2]), layout)


def test_a_frame_cut_short_keeps_the_codes_before_it() -> None:
    layout = codebook_format().layout("default")
    aligned = align(unit_span([0] * 6, [1, 2, 3, 4, 5, 6], codebook=[0, 1, 2, 3, 0, 1]), layout)
    assert aligned.streams["mimi"].tolist() == [[1, 2, 3, 4], [5, 6, 3, 4]]


def test_durations_are_differences_of_anchor_frames() -> None:
    layout = SpeechLayout(rules=(StreamRule(stream="hubert", rate_hz=25.0, anchor=True),))
    aligned = align(unit_span([0, 0, 0], [7, 8, 9], frame=[4, 6, 11]), layout)
    assert aligned.durations is not None and aligned.durations.tolist() == [2, 5, 1]
