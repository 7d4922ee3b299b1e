"""`PocketSphinxAligner`: word times of English by forced alignment with the model that PocketSphinx brings, offline.

The words are those of the text as it stands. They are looked up in the dictionary of 126,000 words in lower case
without marks; a number below 100 is its name, a compound its parts, "Dinah's" is "Dinah" with an ending. Any other word
is heard as the model's phone for speech of any kind, so that room is kept for it; it shares the time between its
neighbours and has no score. Each sound starts from the same state.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from stlm.errors import ConfigError, DataError, PluginError
from stlm.interfaces import Aligner
from stlm.learn.ctc_alignment import SpelledWord, timed_words, words_of
from stlm.types import Audio, Word
from stlm_align.recording import samples_at

SAMPLE_RATE = 16000
HOP = 160
SCORE_SCALE = 1 << 10
"""Scores are kept shifted by 10 bits (SENSCR_SHIFT of PocketSphinx's hmm.h)."""
LEAST = 1e-300  # what rounds to zero has a logarithm, too
STAND_IN = "+unknown+"
PHONES = {
    STAND_IN: ("+SPN+ +SPN+ +SPN+",),
    "+s+": ("Z", "S", "IH Z"),
    "+ll+": ("L", "AH L"),
    "+ve+": ("V", "AH V"),
    "+d+": ("D", "IH D"),
    "+re+": ("ER", "R"),
}
"""What is added to the dictionary, each with all ways to say it."""
ENDING = re.compile(r"(.+)'(s|ll|ve|d|re)")
NUMBER = re.compile(r"([1-9]\d?)(st|nd|rd|th)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``pocketsphinx``.

    Args:
        beam: paths less likely than the best one by this factor are given up. At PocketSphinx's own 1e-48 one of 27
            hard recordings lost its path, at 1e-80 none did.
    """

    beam: float = 1e-80

    def __post_init__(self) -> None:
        if not 0 < self.beam < 1:
            raise ConfigError(f"beam must be above 0 and below 1, got {self.beam:g}")


def build(config: Config) -> PocketSphinxAligner:
    return PocketSphinxAligner(config)


class PocketSphinxAligner(Aligner):
    """Word times of English speech."""

    def __init__(self, config: Config | None = None) -> None:
        beam = (config or Config()).beam
        self._name_of = _needed("num2words").num2words
        # bestpath searches a lattice in which words can vanish; the path itself is asked for
        search = {"beam": beam, "pbeam": beam, "wbeam": beam, "bestpath": False, "lm": None}
        self._decoder = _needed("pocketsphinx").Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", **search)
        for word, ways in PHONES.items():
            for number, phones in enumerate(ways, 1):
                self._decoder.add_word(word if number == 1 else f"{word}({number})", phones, False)

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        words = [SpelledWord(char_start=a, char_end=b, symbols=self._entries(text[a:b])) for a, b in words_of(text)]
        if not any(word.symbols for word in words):
            raise DataError(
                f"{text[:40]!r} cannot be aligned: the dictionary holds none of its words, expected English: choose "
                "another aligner"
            )
        entries = [entry for word in words for entry in word.symbols or (STAND_IN,)]
        path = iter(self._path(samples_at(audio, SAMPLE_RATE), entries))
        found = [[next(path) for _ in word.symbols or (STAND_IN,)] for word in words]
        known = [segments for word, segments in zip(words, found, strict=True) if word.symbols]
        frames = np.array([(segments[0].start_frame, segments[-1].end_frame + 1) for segments in known])
        scores = np.array([_score(segments) for segments in known])
        return timed_words(words, frames * (HOP / SAMPLE_RATE), scores, audio, text)

    def _path(self, samples: np.ndarray, entries: Sequence[str]) -> list[Any]:
        """The stretch of each entry of the dictionary, without the silence and noise between them.

        Raises:
            DataError: there is no path.
        """
        self._decoder.set_align_text(" ".join(entries))
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw((samples.clip(-1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        path = self._decoder.seg() if self._decoder.hyp() else ()
        found = [segment for segment in path if segment.word[0] not in "<["]
        if len(found) != len(entries):
            raise DataError(
                f"{len(entries)} words cannot be aligned to {len(samples) / SAMPLE_RATE:.2f} s of audio: check that "
                "the text is what is said"
            )
        return found

    def _entries(self, word: str) -> tuple[str, ...]:
        """What says a word in the dictionary; empty where nothing does for certain."""
        folded = unicodedata.normalize("NFKD", word.casefold().replace("’", "'"))
        plain = "".join(sign for sign in folded if not unicodedata.combining(sign))
        return next((tuple(entries) for entries in self._readings(plain) if all(map(self._knows, entries))), ())

    def _readings(self, word: str) -> Iterator[list[str]]:
        yield [word]
        if ending := ENDING.fullmatch(word):
            yield [ending[1], f"+{ending[2]}+"]
        if number := NUMBER.fullmatch(word):
            yield self._name_of(int(number[1]), to="ordinal" if number[2] else "cardinal").split("-")
        yield re.split(r"[-.,']", word)

    def _knows(self, entry: str) -> bool:
        return self._decoder.lookup_word(entry) is not None


def _score(segments: list[Any]) -> float:
    """Likelihood of a word's frames relative to the likeliest sounds there, the geometric mean, within 0..1."""
    frames = sum(segment.end_frame - segment.start_frame + 1 for segment in segments)
    likelihood = SCORE_SCALE * sum(math.log(max(segment.ascore, LEAST)) for segment in segments)
    return min(1.0, math.exp(likelihood / frames))


def _needed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise PluginError(
            f"the aligner pocketsphinx needs the package {name}: pip install 'stlm-align[pocketsphinx]'"
        ) from error
