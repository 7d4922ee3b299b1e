"""Discrete units and what an encoder promises about them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.errors import DataError, FormatError
from stlm.testing.factories import HUBERT, MIMI, make_spec
from stlm.types import AlignedUnits, StreamSpec, TextUnits, TokenSequence, Units, as_codes


@pytest.mark.parametrize(
    ("window", "samples", "frames"),
    [
        (640, 0, 0),
        (640, 639, 0),
        (640, 640, 1),
        (640, 1279, 1),
        (640, 1280, 2),
        (400, 399, 0),
        (400, 400, 1),
        (400, 1040, 2),
    ],
)
def test_frames_of_so_many_samples(window: int, samples: int, frames: int) -> None:
    spec = StreamSpec(name="x", codebook_sizes=(2,), sample_rate=16000, hop=640, window=window, fingerprint="f")
    assert spec.num_frames(samples) == frames
    assert spec.frame_rate_hz == 25.0


@given(first=st.integers(0, 10), length=st.integers(0, 10), again=st.integers(0, 5))
def test_a_cut_of_a_cut_stays_on_the_utterances_clock(first: int, length: int, again: int) -> None:
    codes = as_codes(range(20))
    cut = Units(spec=HUBERT, codes=codes).cut(first, first + length)
    inner = cut.cut(min(again, length), length)
    np.testing.assert_array_equal(inner.codes[:, 0], np.arange(inner.start, first + length))
    expected = None if inner.start == 0 else [inner.start - 1]
    assert (None if inner.held is None else inner.held.tolist()) == expected


def test_units_are_frames_by_codebooks_in_uint16() -> None:
    for codes in (np.zeros(3, np.uint16), np.zeros((3, 1), np.int64)):
        with pytest.raises(FormatError, match=r"'hubert' must be uint16\[T, K\]"):
            Units(spec=HUBERT, codes=codes)
    assert as_codes([1, 2, 3]).shape == (3, 1) and as_codes([[1, 2]]).dtype == np.uint16


def test_codes_outside_their_codebook_are_named() -> None:
    Units(spec=MIMI, codes=np.full((2, 4), 31, np.uint16)).check_range()
    Units(spec=MIMI, codes=np.zeros((0, 4), np.uint16)).check_range()
    codes = np.zeros((2, 4), np.uint16)
    codes[1, 2] = 32
    with pytest.raises(FormatError, match=r"'mimi', codebook 2: code 32 is outside 0..31"):
        Units(spec=MIMI, codes=codes).check_range()


def test_aligned_units_have_one_length() -> None:
    with pytest.raises(DataError, match="'a': 2, 'b': 3"):
        AlignedUnits(streams={"a": as_codes([1, 2]), "b": as_codes([1, 2, 3])})
    with pytest.raises(DataError, match="2 entries, got 1"):
        AlignedUnits(streams={"a": as_codes([1, 2])}, durations=np.array([1], np.int32))
    assert len(AlignedUnits(streams={})) == 0


def test_text_units_have_one_place_per_id() -> None:
    with pytest.raises(FormatError, match=r"\[3\] and \[2, 2\]"):
        TextUnits(ids=np.zeros(3, np.int32), char_offsets=np.zeros((2, 2), np.int32), fingerprint="f")


def test_a_token_sequence_has_one_loss_flag_per_id() -> None:
    with pytest.raises(FormatError, match=r"\[3\] and \[2\]"):
        TokenSequence(ids=np.zeros(3, np.int32), loss=np.ones(2, bool))


def test_another_encoder_is_another_stream() -> None:
    assert make_spec("hubert").fingerprint != make_spec("hubert", seed=1).fingerprint


def test_codes_that_are_no_whole_numbers_of_a_table_are_refused() -> None:
    ragged, deep = [[1], [2, 3]], [[[1]]]
    for bad in ([-1], [70000], [2**70], ["a"], [None], [1.7], [float("nan")], [True], ragged, deep, 5, None):
        with pytest.raises(DataError, match="codes must be"):
            as_codes(bad)
    for codes in ([1.0, 2.0], np.array([1, 2], np.int64), range(1, 3)):
        np.testing.assert_array_equal(as_codes(codes), [[1], [2]])
    assert as_codes([]).shape == (0, 1) and as_codes(np.zeros((0, 8))).shape == (0, 8)
