"""The figures of a survey equal those counted one utterance after another."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, pairwise
from math import inf, log2
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import DataError, FormatError
from stlm.store import ShardSet
from stlm.store.quarantine import reasons
from stlm.store.survey import Bar, Tally, survey
from stlm.testing.factories import (
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    HUBERT,
    make_corpus,
    make_units,
    make_utterance,
    write_shards,
)
from stlm.types import Utterance


def bits(values: Sequence[int]) -> float:
    return -sum(n / len(values) * log2(n / len(values)) for n in Counter(values).values())


@pytest.mark.parametrize("streams", [EXPRESSIVE_STREAMS, CODEBOOK_STREAMS], ids=["three", "codebooks"])
def test_a_survey_counts_what_the_utterances_hold(tmp_path: Path, streams: Sequence) -> None:
    utterances = [
        *make_corpus(9, streams=streams),
        *make_corpus(3, seed=2, streams=()),
        make_utterance(901, streams=streams, with_text=False),
        make_utterance(902, streams=streams, with_words=False),
    ]
    found = survey(write_shards(tmp_path, utterances, group_size=3))
    spoken = [item for item in utterances if item.audio]
    aligned = [item for item in utterances if item.words]
    words = [(item, word) for item in spoken for word in item.words]
    assert (found.num_utterances, found.num_with_audio, found.num_with_text) == (14, 11, 13)
    assert (found.num_with_both, found.num_aligned, found.num_words) == (10, len(aligned), len(words))
    assert found.aligned_share == pytest.approx(len(aligned) / 10)
    assert found.num_characters == sum(len(item.text or "") for item in utterances)
    assert found.words_per_utterance.total == sum(len((item.text or "").split()) for item in utterances)
    assert found.utterance_seconds.total == pytest.approx(sum(item.audio.seconds for item in spoken))
    assert found.word_seconds.total == pytest.approx(sum((word.end - word.start) / 16000 for _, word in words))
    assert found.words_per_second == pytest.approx(len(words) / sum(item.audio.seconds for item in aligned))
    assert found.speakers == {item.speaker for item in utterances if item.speaker}
    for name, stream in found.streams.items():
        frames = [item.streams[name].codes.tolist() for item in spoken]
        runs = [code for codes in frames for code, _ in groupby(codes)]
        every = [code for codes in frames for code in codes]
        assert (stream.num_frames, stream.num_runs) == (len(every), len(runs))
        assert stream.entropy == pytest.approx(sum(map(bits, zip(*every, strict=True))))
        rate = len(runs) / (len(every) * stream.spec.hop / 16000)
        assert stream.bits_per_second == pytest.approx(sum(map(bits, zip(*runs, strict=True))) * rate)
        used = sum(len(set(codes)) for codes in zip(*every, strict=True))
        assert stream.share_used == pytest.approx(used / sum(stream.spec.codebook_sizes))
        midpoints = [(2 * frame + 1) * stream.spec.hop / 2 for frame in range(10_000)]
        inside = [
            sum(word.start <= midpoint < word.end for midpoint in midpoints[: len(item.streams[name])])
            for item, word in words
        ]
        np.testing.assert_array_equal(stream.frames_per_word.counts, np.bincount(inside))


def test_runs_end_with_their_utterance(tmp_path: Path) -> None:
    """Three silent utterances of one code, one of them without a frame, are two runs."""
    units = make_units(HUBERT, 5, np.random.default_rng(0))
    still = units.cut(0, 0), *(2 * (make_units(HUBERT, 1, np.random.default_rng(1)),))
    utterances = [Utterance(id=str(index), streams={"hubert": found}) for index, found in enumerate(still)]
    stream = survey(write_shards(tmp_path, utterances, num_shards=1)).streams["hubert"]
    assert (stream.num_frames, stream.num_runs, stream.entropy) == (2, 2, 0)


def test_a_set_of_text_has_no_speech_to_count(tmp_path: Path) -> None:
    found = survey(write_shards(tmp_path, make_corpus(4, streams=()), num_shards=1))
    assert (found.num_with_text, found.num_with_audio, found.words_per_second, found.streams) == (4, 0, 0, {})


def test_a_code_outside_its_codebook_points_to_verify(tmp_path: Path) -> None:
    codes = np.full((3, 1), 900, np.uint16)
    broken = Utterance(id="x", streams={"hubert": make_units(HUBERT, 3, np.random.default_rng(0))})
    object.__setattr__(broken.streams["hubert"], "codes", codes)
    write_shards(tmp_path, [broken], num_shards=1)
    with pytest.raises(FormatError, match=r"code 900 is outside 0..500: stlm inspect --verify"):
        survey(ShardSet(tmp_path))


def test_usage_is_sorted_and_complete(tmp_path: Path) -> None:
    stream = survey(write_shards(tmp_path, make_corpus(9))).streams["hubert"]
    bars = stream.usage(8)
    counts = [bar.count for bar in bars]
    assert len(bars) == 8 and counts == sorted(counts, reverse=True) and sum(counts) == stream.num_frames
    assert (bars[0].low, bars[-1].high) == (0, 501) and all(a.high == b.low for a, b in pairwise(bars))


def test_a_tally_has_bars_of_one_round_width() -> None:
    tally = Tally(step=0.1)
    tally.add(np.array([0.3, 0.3, 0.7, 1.1]))
    tally.add(np.array([]))
    tally.add(np.array([1.15]))
    assert tally.mean == pytest.approx(0.71) and tally.quantile(0.5) == pytest.approx(0.7)
    assert tally.bars(4) == [
        Bar(low=0.0, high=0.5, count=2),
        Bar(low=0.5, high=1.0, count=1),
        Bar(low=1.0, high=1.5, count=2),
    ]
    assert Tally().bars(4) == []


def test_the_last_bar_is_open_where_few_values_lie_far_above() -> None:
    tally = Tally()
    tally.add(np.array([1] * 500 + [2] * 500 + [9000]))
    assert tally.bars(5) == [Bar(low=1, high=2, count=500), Bar(low=2, high=inf, count=501)]


def test_absurd_values_do_not_take_all_memory() -> None:
    tally = Tally()
    tally.add(np.array([1e18, 3.0]))
    assert tally.num == 2 and len(tally.counts) == 1 << 20


def test_notes_are_counted_by_reason(tmp_path: Path) -> None:
    notes = [
        {"id": f"u{n}", "uri": f"/c/u{n}.wav", "kept_as": None, "reason": f"/c/u{n}.wav: lasts {n}.5 s of 'x{n}'"}
        for n in range(3)
    ]
    notes.append({"id": "v\ud800", "uri": None, "kept_as": "speech without text", "reason": "v\ud800: no transcript"})
    path = tmp_path / "quarantine.jsonl"
    path.write_text("".join(json.dumps(note) + "\n" for note in notes))
    found = [(reason.num, reason.reason, reason.kept_as, reason.example) for reason in reasons(path)]
    assert found == [(3, "lasts … s of …", None, "u0"), (1, "no transcript", "speech without text", "v\\ud800")]
    path.write_text('{"id": "x"}\n')
    with pytest.raises(DataError, match=r"quarantine.jsonl:1: is no note"):
        reasons(path)
