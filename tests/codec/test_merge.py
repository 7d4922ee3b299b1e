"""The one sort that makes all streams one stream."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.codec import merge
from stlm.errors import FormatError
from stlm.testing.factories import (
    EXPRESSIVE_STREAMS,
    HUBERT,
    MIMI,
    PITCH,
    STYLE,
    codebook_format,
    expressive_codec,
    expressive_format,
    make_units,
    make_utterance,
)
from stlm.types import SpeechLayout, SpeechSpan, StreamRule, Units

EXPRESSIVE = expressive_format().layout("default")
WITHOUT_CARRY = expressive_format(carry=False).layout("default")
NAMES = ("style", "pitch", "hubert")


def units(spec, codes, **more) -> Units:
    return Units(spec=spec, codes=np.asarray(codes, np.uint16).reshape(len(codes), spec.num_codebooks), **more)


def speech(style, pitch, hubert) -> SpeechSpan:
    return SpeechSpan(
        streams={"style": units(STYLE, style), "pitch": units(PITCH, pitch), "hubert": units(HUBERT, hubert)}
    )


def events(span, layout=EXPRESSIVE, **options) -> list[tuple[str, int]]:
    merged = merge(span, layout, **options)
    return [(layout.rules[order].stream, int(code)) for order, code in zip(merged.stream, merged.code, strict=True)]


def official_order(streams: dict[str, list[int]], rates=(1.0, 12.5, 24.99), dedup=(False, True, True)):
    """Section 4.1 of the specification, word by word: lists of (token, time), concatenated, stably sorted by time."""
    tokens = []
    for name, rate, drop in zip(NAMES, rates, dedup, strict=True):
        timed = [((name, code), index / rate) for index, code in enumerate(streams[name])]
        tokens += [item for place, item in enumerate(timed) if not drop or place == 0 or item[0] != timed[place - 1][0]]
    return [token for token, _ in sorted(tokens, key=lambda item: item[1])]


def test_merge_puts_style_before_pitch_at_equal_onset() -> None:
    got = events(speech(style=[1, 2, 3], pitch=range(26), hubert=range(50)))
    assert got[:3] == [("style", 1), ("pitch", 0), ("hubert", 0)]
    # style 2 and pitch 25 both start at exactly 2 s
    assert got[got.index(("style", 3)) + 1] == ("pitch", 25)


def test_pitch_k_precedes_hubert_2k_and_style_s_precedes_hubert_25s() -> None:
    got = events(speech(style=range(4), pitch=range(50), hubert=range(100)))
    for k in range(50):
        assert got.index(("pitch", k)) < got.index(("hubert", 2 * k))
        if k:
            assert got.index(("hubert", 2 * k - 1)) < got.index(("pitch", k))
    for s in range(4):
        assert got.index(("style", s)) < got.index(("hubert", 25 * s))


@pytest.mark.parametrize(("rate", "precedes"), [(24.99, True), (25.0, False)])
def test_beyond_100_seconds_the_formats_rate_decides_the_order(rate: float, precedes: bool) -> None:
    """At 24.99 Hz pitch 1251 (100.08 s) overtakes HuBERT 2501 (100.04 s by its true rate)."""
    rules = (StreamRule(stream="pitch", rate_hz=12.5), StreamRule(stream="hubert", rate_hz=rate, anchor=True))
    layout = SpeechLayout(rules=rules)
    streams = {
        "pitch": units(PITCH, [9, 8], start=1250, held=np.array([9], np.uint16)),
        "hubert": units(HUBERT, [0, 1, 2, 3], start=2500),
    }
    got = events(SpeechSpan(streams=streams), layout)
    assert (got.index(("pitch", 8)) < got.index(("hubert", 1))) == precedes


@given(
    style=st.lists(st.integers(0, 9), min_size=0, max_size=5),
    pitch=st.lists(st.integers(0, 2), min_size=0, max_size=60),
    hubert=st.lists(st.integers(0, 2), min_size=1, max_size=130),
)
def test_the_order_is_the_official_one(style: list[int], pitch: list[int], hubert: list[int]) -> None:
    expected = official_order({"style": style, "pitch": pitch, "hubert": hubert})
    assert events(speech(style, pitch, hubert)) == expected
    written = expressive_codec().to_string((speech(style, pitch, hubert),))
    short = {"style": "St", "pitch": "Pi", "hubert": "Hu"}
    assert written == "".join(f"[{short[name]}{code}]" for name, code in expected)


@given(seed=st.integers(0, 500), dedup=st.booleans())
def test_one_stream_needs_no_sort_but_gives_what_sorting_gives(seed: int, dedup: bool) -> None:
    rng = np.random.default_rng(seed)
    found = make_units(HUBERT, int(rng.integers(3, 40)), rng).cut(int(rng.integers(0, 4)), 40)
    span = SpeechSpan(streams={"hubert": found, "pitch": units(PITCH, [])})
    rule = StreamRule(stream="hubert", rate_hz=25.0, dedup=dedup, anchor=True)
    alone = merge(span, SpeechLayout(rules=(rule,)))
    beside_nothing = merge(span, SpeechLayout(rules=(rule, StreamRule(stream="pitch", rate_hz=12.5))))
    for column in ("stream", "codebook", "code", "frame"):
        left, right = getattr(alone, column), getattr(beside_nothing, column)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype


def test_a_run_keeps_the_onset_of_its_first_frame() -> None:
    merged = merge(speech(style=[], pitch=[], hubert=[7, 7, 7, 8, 8, 7]), EXPRESSIVE)
    assert merged.code.tolist() == [7, 8, 7] and merged.frame is not None and merged.frame.tolist() == [0, 3, 5]


def test_without_dedup_every_frame_of_every_stream_stays() -> None:
    span = speech(style=[1], pitch=[2, 2], hubert=[3, 3, 3, 3])
    assert len(events(span, dedup=False)) == 7
    assert len(events(span)) == 3


def test_codebooks_of_one_frame_stand_side_by_side() -> None:
    codes = np.arange(12, dtype=np.uint16).reshape(3, 4)
    merged = merge(SpeechSpan(streams={"mimi": units(MIMI, codes)}), codebook_format().layout("default"))
    assert merged.code.tolist() == list(range(12))
    assert merged.codebook.tolist() == [0, 1, 2, 3] * 3
    assert merged.frame is not None and merged.frame.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_codebooks_of_one_frame_stay_together_beside_another_stream() -> None:
    rules = (
        StreamRule(stream="mimi", rate_hz=12.5, dedup=False, anchor=True),
        StreamRule(stream="pitch", rate_hz=12.5, dedup=False),
    )
    streams = {"pitch": units(PITCH, [60, 61]), "mimi": units(MIMI, np.arange(8).reshape(2, 4))}
    merged = merge(SpeechSpan(streams=streams), SpeechLayout(rules=rules))
    assert merged.code.tolist() == [0, 1, 2, 3, 60, 4, 5, 6, 7, 61]


def test_a_frame_of_several_codebooks_repeats_only_if_all_of_them_do() -> None:
    rule = StreamRule(stream="mimi", rate_hz=12.5, dedup=True, anchor=True)
    codes = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 5]], np.uint16)
    merged = merge(SpeechSpan(streams={"mimi": units(MIMI, codes)}), SpeechLayout(rules=(rule,)))
    assert merged.code.tolist() == [1, 2, 3, 4, 1, 2, 3, 5]


def cut_span(first: int, last: int, seed: int = 4) -> SpeechSpan:
    utterance = make_utterance(seed, num_words=12, streams=EXPRESSIVE_STREAMS, distinct=True)
    return SpeechSpan(streams=utterance.slice(first, last))


def test_a_span_without_carry_holds_only_its_own_frames() -> None:
    for seed in range(10):
        for word in range(1, 12):
            span = cut_span(word, word + 1, seed)
            for name, code in events(span, WITHOUT_CARRY):
                assert code in span.streams[name].codes


def test_carry_opens_a_short_span_with_the_style_and_pitch_in_force() -> None:
    for seed in range(20):
        for word in range(1, 12):
            span = cut_span(word, word + 1, seed)
            if not len(span.streams["hubert"]):
                continue
            got = [name for name, _ in events(span)]
            assert got[: got.index("hubert")] == ["style", "pitch"], f"seed {seed}, word {word}: {got}"
            assert got.count("style") <= 2


def test_carry_adds_nothing_but_the_held_values() -> None:
    for seed in range(10):
        for word in range(12):
            span = cut_span(word, word + 1, seed)
            plain, carried = events(span, WITHOUT_CARRY), events(span)
            held = {
                (name, int(u.held[0])) for name, u in span.streams.items() if u.held is not None and name != "hubert"
            }
            extra = list(carried)
            for event in plain:
                extra.remove(event)
            assert set(extra) <= held
            assert [event for event in carried if event not in extra] == plain


def test_nothing_is_carried_into_the_start_of_an_utterance() -> None:
    span = cut_span(0, 3)
    assert events(span) == events(span, WITHOUT_CARRY)


def test_nothing_is_carried_where_nothing_is_said() -> None:
    utterance = make_utterance(1, streams=EXPRESSIVE_STREAMS)
    streams = {name: found.cut(1, 1) for name, found in utterance.streams.items()}
    assert events(SpeechSpan(streams=streams)) == []


def test_a_carried_value_that_goes_on_is_written_once() -> None:
    streams = {
        "style": units(STYLE, [], start=1, held=np.array([5], np.uint16)),
        "pitch": units(PITCH, [7, 7, 8], start=14, held=np.array([7], np.uint16)),
        "hubert": units(HUBERT, [1, 2, 3, 4], start=27),
    }
    got = events(SpeechSpan(streams=streams))
    assert got[:3] == [("style", 5), ("pitch", 7), ("hubert", 1)] and got.count(("pitch", 7)) == 1


def test_a_missing_stream_is_named_with_those_that_are_there() -> None:
    span = SpeechSpan(streams={"hubert": units(HUBERT, [1]), "pitch": units(PITCH, [1])})
    with pytest.raises(FormatError, match=r"'style'.*\['hubert', 'pitch'\]"):
        merge(span, EXPRESSIVE)
