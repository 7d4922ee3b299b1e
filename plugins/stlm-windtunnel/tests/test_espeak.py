"""Speech: determinism, word times, and errors that teach."""

import _ctypes
import ctypes
import hashlib
import multiprocessing
import subprocess
import sys

import espeakng_loader
import numpy as np
import pytest

from stlm.errors import ConfigError, DataError, PluginError
from stlm.types import Utterance
from stlm_windtunnel.espeak import SAMPLE_RATE, phonemes, speak
from stlm_windtunnel.voices import STYLES, VOICES, Style, check_voice

TEXT = "In the end, Anna saw the boat. It was a boat on the sea, near the harbor."


def _digest(voice: str = "en-us+f2", style: str = "happy") -> str:
    return hashlib.sha256(speak(TEXT, voice, style)[0].samples.tobytes()).hexdigest()


def test_speech_does_not_depend_on_what_was_said_before():
    for voice in VOICES:
        before = _digest(voice)
        speak("Something else was said in between.", "en-us+m3", "angry")
        assert _digest(voice) == before


def test_another_process_says_the_same():
    code = (
        "import hashlib\nfrom stlm_windtunnel.espeak import speak\n"
        f"audio, _ = speak({TEXT!r}, 'en-us+f2', 'happy')\n"
        "print(hashlib.sha256(audio.samples.tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert fresh.strip() == _digest()


def test_a_forked_child_says_the_same():
    expected = _digest()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_digest) == expected


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("style", STYLES)
def test_words_match_the_text_one_to_one(voice, style):
    audio, words = speak(TEXT, voice, style)
    assert [word.text for word in words] == [word.strip(",.") for word in TEXT.split()]
    assert all(TEXT[word.char_start : word.char_end] == word.text for word in words)
    # the constructor raises where words overlap, are out of order or leave the audio
    Utterance(id="u", audio=audio, text=TEXT, words=words)
    assert all(word.end - word.start > 0.02 * SAMPLE_RATE for word in words)


def test_a_word_ends_where_the_pause_begins():
    audio, words = speak(TEXT)
    before_pause = [index for index, word in enumerate(TEXT.split()) if word[-1] in ",."]
    for index in before_pause:
        end = words[index].end
        pause_end = words[index + 1].start if index + 1 < len(words) else audio.num_samples
        assert pause_end - end > 0.1 * SAMPLE_RATE
        # the last phone may ring on for a few ms
        assert np.abs(audio.samples[end + 400 : pause_end - 400]).max() < 0.02
    assert all(words[i].end == words[i + 1].start for i in range(len(words) - 1) if i not in before_pause)


def test_white_space_and_marks_around_words_keep_their_place():
    text = "  'Hello,'   she  said. "
    _, words = speak(text)
    assert [(word.text, word.char_start) for word in words] == [("Hello", 3), ("she", 13), ("said", 18)]


def test_styles_differ_in_rate_and_pitch():
    seconds = {style: speak(TEXT, "en-us", style)[0].seconds for style in STYLES}
    assert seconds["sad"] > 1.15 * seconds["neutral"] > 1.15 * seconds["angry"]
    same_rate = [speak(TEXT, "en-us", Style(pitch=pitch))[0].samples for pitch in (30, 70)]
    assert not np.array_equal(*[samples[:30000] for samples in same_rate])


def test_audio_is_mono_16_khz_and_does_not_clip():
    for style in STYLES:
        audio, _ = speak(TEXT, "en-us", style)
        assert audio.sample_rate == 16_000 and audio.samples.dtype == np.float32
        assert 0.2 < np.abs(audio.samples).max() < 1.0


@pytest.mark.parametrize(
    ("voice", "message"),
    [("en-us+f33", "did you mean 'f3'"), ("en-uk", "did you mean 'en-us'"), ("en-us+", "no variant"), ("", "no lang")],
)
def test_an_unknown_voice_raises_although_the_library_would_not(voice, message):
    with pytest.raises(ConfigError, match=message):
        check_voice(voice)
    with pytest.raises(ConfigError, match=message):
        speak("hello", voice)


def test_an_unknown_style_raises_with_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'happy'"):
        speak("hello", "en-us", "hapy")


def test_a_library_held_by_other_code_raises_instead_of_changing_the_speech():
    held = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        with pytest.raises(PluginError, match="its own process"):
            speak("hello")
    finally:
        _ctypes.dlclose(held._handle)
    assert speak("hello")[1][0].text == "hello"


@pytest.mark.parametrize("text", ["", "   ", "in 1999 we met", "one - two"])
def test_text_whose_words_cannot_be_matched_raises(text):
    with pytest.raises(DataError):
        speak(text)


def test_phonemes_are_those_of_the_voice():
    assert phonemes("boats") == ("b", "'oU", "t", "s")
