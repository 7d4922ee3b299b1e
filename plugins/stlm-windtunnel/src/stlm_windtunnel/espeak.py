"""Text in, 16 kHz audio with exact word times out; about 1 ms plus 1.3 ms per second spoken."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from stlm.audio import resample
from stlm.errors import DataError
from stlm.types import Audio, Word
from stlm_windtunnel.library import END, PHONEME, WORD, synthesize
from stlm_windtunnel.voices import Style, style_named

SAMPLE_RATE = 16_000
PAUSE = "_"

_CLAUSE_MARKS = ",.;:!?"
_NO_BREAK = "\u00a0"


def speak(text: str, voice: str = "en-us", style: str | Style = "neutral") -> tuple[Audio, tuple[Word, ...]]:
    """Speak a text; the same arguments give the same samples, whatever was spoken before.

    Args:
        text: words separated by white space, without digits (a number is spoken as several words).
        voice: language and optional variant, as "en-us+f1".
        style: name of a style, or a prosody profile.

    Returns:
        ``float32[N]`` at 16 kHz, and one word per white-space word of the text with its samples and characters.

    Raises:
        ConfigError: unknown voice or style.
        DataError: the text has no words, or the spoken words are not the written ones.
    """
    profile = style_named(style) if isinstance(style, str) else style
    spoken_text = _joined(text)
    recording = synthesize(spoken_text, voice, profile)
    if not recording.chunks:
        raise DataError(f"espeak-ng said nothing to {text!r}: give it a text with words")
    samples = np.concatenate(recording.chunks).astype(np.float32) / 32768
    audio = resample(Audio(samples=samples, sample_rate=recording.sample_rate), SAMPLE_RATE)
    times = _word_times(recording.events, len(samples))
    return audio, _words(text, spoken_text, times, recording.sample_rate, audio.num_samples)


def phonemes(text: str, voice: str = "en-us") -> tuple[str, ...]:
    """The phonemes that `speak` says, in espeak-ng's notation, without pauses; raises as `speak` does."""
    events = synthesize(_joined(text), voice, style_named("neutral")).events
    return tuple(name for type_, _, _, name in events if type_ == PHONEME and not _is_pause(name))


def phone_times(text: str, voice: str = "en-us", style: str | Style = "neutral") -> tuple[tuple[str, int, int], ...]:
    """Name, start and end (samples at 16 kHz) of each phone that `speak` says, pauses named ``PAUSE``.

    They cover the audio without gaps. Arguments and errors are those of `speak`.
    """
    profile = style_named(style) if isinstance(style, str) else style
    recording = synthesize(_joined(text), voice, profile)
    num_samples = sum(len(chunk) for chunk in recording.chunks)
    starts = [(PAUSE if _is_pause(name) else name, at) for type_, _, at, name in recording.events if type_ == PHONEME]
    bounds = [("", 0), *starts, ("", num_samples)]
    times = [_rescaled(at, recording.sample_rate) for _, at in bounds]
    found = [(name or PAUSE, start, end) for (name, _), (start, end) in zip(bounds, pairwise(times), strict=False)]
    return tuple(item for item in found if item[2] > item[1])


def _joined(text: str) -> str:
    """Words joined so that each gets its own event and clauses keep their pause.

    espeak-ng merges "in the" or "was a" into one word event; a no-break space prevents it. After punctuation it needs
    the plain space, or the clause and its pause vanish.
    """
    words = text.split()
    if not words:
        raise DataError(f"cannot speak {text!r}: it has no words")
    links = [" " if word[-1] in _CLAUSE_MARKS else _NO_BREAK for word in words]
    return "".join(word + link for word, link in zip(words, links, strict=True)).rstrip()


def _word_times(events: list[tuple[int, int, int, str]], num_samples: int) -> list[tuple[int, int, int]]:
    """(character, start, end) of each word; it ends at a pause phoneme, at the clause's end or at the next word."""
    rows: list[tuple[int, int, int]] = []
    current: tuple[int, int] | None = None
    for type_, position, sample, phoneme in [*events, (END, 0, num_samples, "")]:
        pause = type_ == END or (type_ == PHONEME and _is_pause(phoneme))
        if current is not None and (pause or type_ == WORD):
            rows.append((*current, sample))
            current = None
        if type_ == WORD:
            current = (position - 1, sample)
    return rows


def _is_pause(phoneme: str) -> bool:
    return not phoneme.strip("_:")  # "_:" and its kin, or an empty string


def _words(
    text: str, spoken_text: str, times: list[tuple[int, int, int]], source_rate: int, num_samples: int
) -> tuple[Word, ...]:
    written = [match.span() for match in re.finditer(r"\S+", text)]
    bounds = [match.start() for match in re.finditer(r"\S+", spoken_text)] + [len(spoken_text)]
    inside = [first <= row[0] < last for row, (first, last) in zip(times, pairwise(bounds), strict=False)]
    if len(times) != len(written) or not all(inside):
        raise DataError(
            f"espeak-ng spoke {len(times)} words for the {len(written)} words of {text!r}: "
            "spell out numbers and signs, and leave no word that is only punctuation"
        )

    def at_16k(sample: int) -> int:
        return min(num_samples, _rescaled(sample, source_rate))

    return tuple(
        _word(text, first, last, at_16k(start), at_16k(end))
        for (first, last), (_, start, end) in zip(written, times, strict=True)
    )


def _rescaled(sample: int, source_rate: int) -> int:
    """The nearest sample at 16 kHz."""
    return (2 * sample * SAMPLE_RATE + source_rate) // (2 * source_rate)


def _word(text: str, first: int, last: int, start: int, end: int) -> Word:
    while first < last - 1 and not text[first].isalnum():
        first += 1
    while last > first + 1 and not text[last - 1].isalnum():
        last -= 1
    return Word(text=text[first:last], start=start, end=end, char_start=first, char_end=last)
