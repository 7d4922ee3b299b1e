"""Words of the world against non-words (after sWUGGY, Nguyen et al. 2020, and Wuggy, Keuleers & Brysbaert 2010).

A non-word is a word with parts of its syllables (onset, nucleus, coda) replaced by parts that stand in the same place
in other words of the world, so that every piece is familiar and only the whole is new. It has the word's length within
one letter and one phoneme, is not spelled or pronounced like any word of the world, and is no common English word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from stlm_windtunnel.espeak import phonemes
from stlm_windtunnel.lexicon import MOODS, TIMES, TOPICS
from stlm_windtunnel.minimal_pairs import MODALITIES, MinimalPair, MinimalPairs
from stlm_windtunnel.world import generator, pick, world_words

_MIN_LETTERS, _MIN_PARTS = 6, 4

# real words that the recipe was seen to make
_ENGLISH: frozenset[str] = frozenset(
    {
        *("deadly", "evading", "flecked", "glanced", "gourded", "grater", "greedy", "hosted"),
        *("huffed", "leafed", "master", "mincing", "phonic", "potted", "reapply", "rhombic"),
        *("rocking", "romper", "rueful", "shunned", "sipped", "slickly", "stationed", "stouter"),
        *("tinned", "toiled", "warned", "weaned"),
    }
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `WindTunnelWuggy`; see `MinimalPairs`."""

    num_pairs: int = 200
    seed: int = 0
    modalities: tuple[str, ...] = MODALITIES
    voices: tuple[str, ...] = ()
    style: str = "neutral"


def build(config: Config) -> WindTunnelWuggy:
    return WindTunnelWuggy(
        num_pairs=config.num_pairs,
        seed=config.seed,
        modalities=tuple(config.modalities),
        voices=tuple(config.voices),
        style=config.style,
    )


class WindTunnelWuggy(MinimalPairs):
    """Pairs of a word and a non-word; after some 170 pairs the words come again, with other non-words."""

    def __init__(
        self,
        *,
        num_pairs: int = 200,
        seed: int = 0,
        modalities: tuple[str, ...] = MODALITIES,
        voices: tuple[str, ...] = (),
        style: str = "neutral",
    ) -> None:
        super().__init__(
            name="windtunnel_wuggy",
            num_pairs=num_pairs,
            seed=seed,
            modalities=modalities,
            voices=voices,
            style=style,
        )
        words = tested_words()
        self.words = [words[int(index)] for index in generator(seed, self.name, "words").permutation(len(words))]

    def pair(self, index: int) -> MinimalPair:
        word = self.words[index % len(self.words)]
        return MinimalPair(right=word, wrong=non_word(generator(self.seed, self.name, index), word), phenomenon="word")


@lru_cache(maxsize=1)
def tested_words() -> tuple[str, ...]:
    """The words that are tested: content words, singular, long enough that a non-word is hardly ever a real word."""
    topical = [
        word
        for topic in TOPICS.values()
        for word in (*topic.people, *(one for one, _ in topic.things), *topic.verbs, *topic.adjectives, *topic.places)
    ]
    moods = [word for mood in MOODS.values() for word in (*mood.adjectives, *mood.verbs, *mood.adverbs)]
    words = (*topical, *moods, *(time.lower() for time in TIMES))
    return tuple(word for word in words if len(word) >= _MIN_LETTERS and len(parts_of(word)) >= _MIN_PARTS)


def non_word(rng: np.random.Generator, word: str) -> str:
    """`word` with two neighbouring parts replaced; see the module's description for what is kept."""
    parts, stock = parts_of(word), _stock()
    known_spellings, known_sounds = _known()
    length = len(phonemes(word))
    while True:
        first = int(rng.integers(len(parts) - 2))  # not the last two: a stem with a new ending is often a word
        candidate = list(parts)
        for place in (first, first + 1):
            candidate[place] = pick(rng, stock[_place(parts, place)])
        spelling = "".join(candidate)
        if candidate[first] == parts[first] or candidate[first + 1] == parts[first + 1]:
            continue
        if abs(len(spelling) - len(word)) > 1 or not _letter_pairs(spelling) <= _known_letter_pairs():
            continue
        if spelling in known_spellings or spelling in _ENGLISH:
            continue
        sounds = _sounds(spelling)
        if abs(len(sounds) - length) <= 1 and sounds not in known_sounds:
            return spelling


def parts_of(word: str) -> tuple[str, ...]:
    """Runs of consonant and of vowel letters: ("s", "ai", "l", "o", "r")."""
    return tuple(re.findall(r"[aeiouy]+|[^aeiouy]+", word))


def _place(parts: tuple[str, ...], index: int) -> tuple[bool, bool, bool]:
    return parts[index][0] in "aeiouy", index == 0, index == len(parts) - 1


@lru_cache(maxsize=1)
def _stock() -> dict[tuple[bool, bool, bool], tuple[str, ...]]:
    """The parts that stand in each place (vowel or not, first, last) of the tested words, each once, in fixed order."""
    stock: dict[tuple[bool, bool, bool], dict[str, None]] = {}
    for parts in map(parts_of, tested_words()):
        for index, part in enumerate(parts):
            stock.setdefault(_place(parts, index), {})[part] = None
    return {place: tuple(found) for place, found in stock.items()}


def _letter_pairs(word: str) -> set[str]:
    return {first + second for first, second in pairwise(f" {word} ")}


@lru_cache(maxsize=1)
def _known_letter_pairs() -> frozenset[str]:
    return frozenset[str]().union(*map(_letter_pairs, tested_words()))


@lru_cache(maxsize=1)
def _known() -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """Spellings and sounds of all words of the world; half a second, once per process."""
    words = world_words()
    return frozenset(words), frozenset(_sounds(word) for word in words)


def _sounds(word: str) -> tuple[str, ...]:
    return tuple(sound.lstrip("',%") for sound in phonemes(word))  # without stress marks
