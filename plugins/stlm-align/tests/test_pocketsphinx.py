"""PocketSphinx: words as the dictionary has them, times of real English, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stlm.audio import read_audio
from stlm.errors import ConfigError, DataError, PluginError
from stlm.types import Audio
from stlm_align import pocketsphinx
from stlm_align.pocketsphinx import PocketSphinxAligner

ALIGNED = next(
    (path for parent in Path(__file__).resolve().parents if (path := parent / "shared/data/real/aligned").is_dir()),
    None,
)
needs_speech = pytest.mark.skipif(ALIGNED is None, reason="needs the folder shared/data/real/aligned with recordings")


@pytest.fixture(scope="module")
def aligner() -> PocketSphinxAligner:
    pytest.importorskip("pocketsphinx", reason="needs stlm-align[pocketsphinx]")
    return PocketSphinxAligner()


@pytest.mark.parametrize(
    ("word", "entries"),
    [
        ("Barrel", "barrel"),
        ("Café", "cafe"),
        ("don’t", "don't"),
        ("Dinah's", "dinah +s+"),
        ("forty-two", "forty two"),
        ("3", "three"),
        ("42", "forty two"),
        ("21st", "twenty first"),
        ("1984", ""),
        ("3,000", ""),
        ("007", ""),
        ("zzgrb", ""),
        ("zzgrb's", ""),
        ("мир", ""),
    ],
)
def test_a_word_is_what_surely_says_it(aligner: PocketSphinxAligner, word: str, entries: str) -> None:
    assert aligner._entries(word) == tuple(entries.split())


def test_other_languages_broken_sounds_and_impossible_options_are_refused(
    aligner: PocketSphinxAligner, noise: Callable[..., Audio]
) -> None:
    with pytest.raises(DataError, match="the dictionary holds none of its words"):
        aligner.align(noise(1.0), "мир 1984")
    with pytest.raises(DataError, match=r"8 words cannot be aligned to 0\.20 s"):
        aligner.align(noise(0.2), "far too many words for so short a")
    with pytest.raises(ConfigError, match="beam must be"):
        pocketsphinx.Config(beam=0.0)
    with pytest.raises(DataError, match="NaN"):
        aligner.align(Audio(samples=np.full(1600, np.nan, np.float32), sample_rate=16000), "one")


@pytest.mark.parametrize("package", ["pocketsphinx", "num2words"])
def test_it_says_how_to_install_what_it_needs(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("num2words", reason="needs stlm-align[pocketsphinx]")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PluginError, match=rf"{package}: pip install 'stlm-align\[pocketsphinx\]'"):
        pocketsphinx.build(pocketsphinx.Config())


@pytest.fixture(scope="module")
def recorded() -> tuple[Audio, str, list[tuple[int, int]]]:
    """Three seconds of speech, their text, and samples of its words by another aligner."""
    rows = [json.loads(line) for line in (ALIGNED / "manifest.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row["id"] == "praatio_mary"]
    edges = [(round(16000 * word["start"]), round(16000 * word["end"])) for word in row["words"]]
    return read_audio(ALIGNED / row["audio"]), row["text"], edges


@needs_speech
def test_real_words_are_found_where_they_are_said(aligner: PocketSphinxAligner, recorded) -> None:
    audio, text, edges = recorded
    found = aligner.align(audio, text)
    assert [word.text for word in found] == text.split()
    assert np.median(np.abs(np.array([(word.start, word.end) for word in found]) - edges)) < 0.03 * 16000
    double = Audio(samples=np.repeat(audio.samples, 2), sample_rate=32000)
    assert [word.start for word in aligner.align(double, text)] == pytest.approx(
        [2 * word.start for word in found], abs=640
    )


@needs_speech
def test_an_unknown_word_shares_the_room_between_its_neighbours(aligner: PocketSphinxAligner, recorded) -> None:
    audio, text, edges = recorded
    assert text == "mary rolled the barrel"
    before, one, two, after = aligner.align(audio, "Mary zzgrb 1984 barrel!")
    assert before.end == one.start < one.end == two.start < two.end == after.start
    assert (one.score, two.score) == (None, None) and before.score and after.score
    assert abs(before.end - edges[0][1]) < 0.1 * 16000


@needs_speech
def test_words_that_are_not_said_have_low_scores(aligner: PocketSphinxAligner, recorded) -> None:
    audio, text, _ = recorded
    right, wrong = (
        np.mean([word.score for word in aligner.align(audio, given)]) for given in (text, "barrel the rolled mary")
    )
    assert right > 3 * wrong


@needs_speech
def test_a_sound_is_aligned_as_if_it_were_the_first(aligner: PocketSphinxAligner, recorded, noise) -> None:
    audio, text, _ = recorded
    first = aligner.align(audio, text)
    aligner.align(noise(0.5), "one two")
    assert aligner.align(audio, text) == first
