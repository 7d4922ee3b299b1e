"""Phones with their samples: the same that `speak` says, without gaps."""

from itertools import pairwise

import pytest

from stlm.errors import ConfigError
from stlm_windtunnel.espeak import PAUSE, phone_times, phonemes, speak

TEXT = "In the end, Anna saw the boat."


@pytest.mark.parametrize(("voice", "style"), [("en-us", "neutral"), ("en-us+f2", "happy")])
def test_phones_cover_the_audio_without_gaps(voice, style):
    times = phone_times(TEXT, voice, style)
    audio, _ = speak(TEXT, voice, style)
    assert times[0][1] == 0
    assert abs(times[-1][2] - audio.num_samples) <= 1
    assert all(before[2] == after[1] for before, after in pairwise(times))
    assert all(start < end for _, start, end in times)


def test_names_are_those_of_the_phonemes_in_order():
    assert tuple(name for name, _, _ in phone_times(TEXT) if name != PAUSE) == phonemes(TEXT)


def test_words_begin_and_end_within_25_ms_of_a_phone():
    _, words = speak(TEXT, "en-us+f2", "sad")
    starts = [start for _, start, _ in phone_times(TEXT, "en-us+f2", "sad")]
    for bound in [bound for word in words for bound in (word.start, word.end)]:
        assert min(abs(bound - start) for start in starts) <= 400


def test_the_pause_of_a_clause_is_a_pause():
    _, words = speak(TEXT)
    pauses = [(start, end) for name, start, end in phone_times(TEXT) if name == PAUSE]
    assert (words[2].end, words[3].start) in pauses


def test_unknown_voices_are_refused():
    with pytest.raises(ConfigError, match="no voice"):
        phone_times(TEXT, "en-us+f33")
