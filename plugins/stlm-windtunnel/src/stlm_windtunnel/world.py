"""The grammar: seeded stories and sentences with a topic and a mood. Pure text; about 0.1 ms per story.

Train and test are disjoint by construction: a hash of each sentence decides to which split it belongs, and a sentence
that falls in the other one is drawn again. No sentence of a test story was ever in a training story, so no context and
no ending was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from zlib import crc32

import numpy as np

from stlm.errors import ConfigError
from stlm_windtunnel.lexicon import MEN, MOODS, NUMERALS, SHARED_VERBS, TIMES, TOPICS, WOMEN, Mood, Topic

T = TypeVar("T")

SPLITS: tuple[str, ...] = ("train", "test")
CONTEXT_SENTENCES = 4
THINGS_PER_STORY = 4
ZIPF_EXPONENT = 1.3
_TEST_SHARE = 10  # one sentence in ten is kept for the test split

OPENINGS: tuple[str, ...] = (
    "One {time}, {name} went to the {place}.",
    "{name} met the {person} at the {place}.",
    "The {person} and {name} were at the {place}.",
    "Last {time}, {name} saw the {person}.",
)
MIDDLES: tuple[str, ...] = (
    "{name} {did} the {how} {thing}.",
    "The {person} {did} the {how} {thing}.",
    "{he} {shared} {many} {how} {things}.",
    "The {how} {things} were near the {thing}.",
    "The {how} {thing} was near the {things}.",
    "{name} {did} this {how} {thing}.",
    "{he} {did} these {how} {things}.",
    "These {how} {things} were from the {place}.",
    "This {how} {thing} was from the {place}.",
    "{he} {mood_how} {did} the {how} {thing}.",
    "{name} {mood_did} and {did} the {thing}.",
    "The {person} {shared} the {thing} near the {place}.",
    "At the {place}, {he} {did} the {thing}.",
    "{name} was {mood} about the {how} {things}.",
    "The {person} was {mood} about the {thing}.",
    "The {thing} and the {other} were {how}.",
    "{name} {mood_self} {himself} at the {place}.",
)
ENDINGS: tuple[str, ...] = (
    "In the end, {name} {did} the {thing}.",
    "At last, {he} {did} the {how} {thing}.",
    "Then the {mood} {person} {did} the {thing}.",
    "Finally, the {person} {shared} the {how} {things}.",
    "So {he} {mood_did} and {did} the {things}.",
    "In the end, the {person} {did} {many} {things}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Four sentences and an ending about one topic in one mood."""

    topic: str
    mood: str
    sentences: tuple[str, ...]

    @property
    def context(self) -> str:
        return " ".join(self.sentences[:-1])

    @property
    def ending(self) -> str:
        return self.sentences[-1]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What a story's sentences share: its topic, mood, hero and the few things it is about."""

    topic: Topic
    mood: Mood
    name: str
    things: tuple[tuple[str, str], ...]


def generator(seed: int, *key: int | str) -> np.random.Generator:
    """The random stream of (seed, key); equal arguments give equal streams in every process.

    Raises:
        ConfigError: negative seed.
    """
    if seed < 0:
        raise ConfigError(f"seed must be 0 or more, got {seed}")
    return np.random.default_rng([seed, *(part if isinstance(part, int) else crc32(part.encode()) for part in key)])


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def zipf_weights(number: int) -> np.ndarray:
    """``float64[number]``, summing to 1: as in real text, a topic's first words are frequent and its last ones rare."""
    weights = np.arange(1, number + 1) ** -ZIPF_EXPONENT
    return weights / weights.sum()


def pick_topical(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """One of a topic's words, the first ones most often."""
    return choices[int(rng.choice(len(choices), p=zipf_weights(len(choices))))]


def split_of(sentence: str) -> str:
    """The split that a sentence belongs to, by its hash."""
    digest = hashlib.blake2b(sentence.encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") % _TEST_SHARE == 0 else "train"


def draw_cast(
    rng: np.random.Generator, *, topic: str | None = None, mood: str | None = None, name: str | None = None
) -> Cast:
    """Draw a story's cast; what is given is kept."""
    chosen = TOPICS[topic or pick(rng, tuple(TOPICS))]
    count = len(chosen.things)
    order = rng.choice(count, size=THINGS_PER_STORY, replace=False, p=zipf_weights(count))
    return Cast(
        topic=chosen,
        mood=MOODS[mood or pick(rng, tuple(MOODS))],
        name=name or pick(rng, WOMEN + MEN),
        things=tuple(chosen.things[int(index)] for index in order),
    )


def write_story(rng: np.random.Generator, cast: Cast, split: str) -> Story:
    """One opening, three middles of different form, one ending; all different and all of `split`."""
    order = rng.permutation(len(MIDDLES))[: CONTEXT_SENTENCES - 1]
    plan = [(OPENINGS, None), *((MIDDLES, MIDDLES[int(index)]) for index in order), (ENDINGS, None)]
    sentences: list[str] = []
    for frames, first in plan:
        sentences.append(write_sentence(rng, cast, frames, split, first=first, taken=sentences))
    return Story(topic=cast.topic.name, mood=cast.mood.name, sentences=tuple(sentences))


def write_sentence(
    rng: np.random.Generator,
    cast: Cast,
    frames: Sequence[str],
    split: str,
    *,
    first: str | None = None,
    taken: Sequence[str] = (),
) -> str:
    """One sentence of `split` that is not taken, in one of the frames; `first` is the frame of the first draws."""
    attempt = 0
    while True:
        # a frame with few fillings may lie wholly in the other split: give it up after a while
        frame = first if first is not None and attempt < 50 else pick(rng, frames)
        sentence = fill(frame, draw_roles(rng, cast))
        if split_of(sentence) == split and sentence not in taken:
            return sentence
        attempt += 1


def draw_roles(rng: np.random.Generator, cast: Cast) -> dict[str, str]:
    """A word for every role that a frame may name."""
    topic, mood = cast.topic, cast.mood
    first, second = (cast.things[int(index)] for index in rng.permutation(len(cast.things))[:2])
    feminine = cast.name in WOMEN
    return {
        "name": cast.name,
        "he": "she" if feminine else "he",
        "himself": "herself" if feminine else "himself",
        "person": pick_topical(rng, topic.people),
        "thing": first[0],
        "things": second[1],
        "other": second[0],
        "did": pick_topical(rng, topic.verbs),
        "how": pick_topical(rng, topic.adjectives),
        "place": pick_topical(rng, topic.places),
        "shared": pick(rng, SHARED_VERBS),
        "many": pick(rng, NUMERALS),
        "time": pick(rng, TIMES),
        "mood": pick(rng, mood.adjectives),
        "mood_did": pick(rng, mood.verbs),
        "mood_how": pick(rng, mood.adverbs),
        "mood_self": pick(rng, mood.reflexives),
    }


def fill(frame: str, roles: Mapping[str, str]) -> str:
    """The frame with its roles filled in and a capital letter in front."""
    sentence = re.sub(r"\{(\w+)\}", lambda match: roles[match.group(1)], frame)
    return sentence[0].upper() + sentence[1:]


def world_words() -> tuple[str, ...]:
    """Every word type that the grammar can write, in lower case, sorted."""
    frames = re.sub(r"\{\w+\}|[.,]", " ", " ".join((*OPENINGS, *MIDDLES, *ENDINGS))).split()
    topical = [word for topic in TOPICS.values() for word in topic.words]
    moods = [word for m in MOODS.values() for word in (*m.adjectives, *m.verbs, *m.adverbs, *m.reflexives)]
    shared = (*WOMEN, *MEN, *SHARED_VERBS, *NUMERALS, *TIMES, "he", "she", "himself", "herself")
    return tuple(sorted({word.lower() for word in (*frames, *topical, *moods, *shared)}))
