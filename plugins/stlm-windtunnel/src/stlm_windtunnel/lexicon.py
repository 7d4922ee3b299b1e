"""The words of the world: eight topics whose own words look and sound unlike each other's, and shared words.

A topic's words occur in no other topic, so that a sentence of the world gives its topic away two to four times; names,
function words, shared verbs and mood words say nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic's own words; `things` holds (singular, plural)."""

    name: str
    people: tuple[str, ...]
    things: tuple[tuple[str, str], ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    places: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        things = tuple(form for pair in self.things for form in pair)
        return (*self.people, *things, *self.verbs, *self.adjectives, *self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """How a story feels; the speaking style has the mood's name."""

    name: str
    adjectives: tuple[str, ...]
    verbs: tuple[str, ...]
    adverbs: tuple[str, ...]
    reflexives: tuple[str, ...]


def _topic(name: str, people: str, things: str, verbs: str, adjectives: str, places: str) -> Topic:
    pairs = tuple((word, plural_of(word)) for word in things.split())
    rest = (tuple(words.split()) for words in (people, verbs, adjectives, places))
    who, did, how, where = rest
    return Topic(name=name, people=who, things=pairs, verbs=did, adjectives=how, places=where)


def plural_of(noun: str) -> str:
    """Regular English plural."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ch", "sh", "s", "x", "potato")) else "s")


def _mood(name: str, adjectives: str, verbs: str, adverbs: str, reflexives: str) -> Mood:
    kind, did, how, self_ = (tuple(words.split()) for words in (adjectives, verbs, adverbs, reflexives))
    return Mood(name=name, adjectives=kind, verbs=did, adverbs=how, reflexives=self_)


TOPICS: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        _topic(
            "sea",
            "sailor captain pirate",
            "boat anchor shell crab whale paddle dolphin raft pearl lobster",
            "sailed rowed steered towed hooked floated",
            "salty stormy sandy wavy",
            "harbor beach ocean",
        ),
        _topic(
            "food",
            "cook baker waiter",
            "cake onion spoon pancake cookie muffin potato lemon kettle sausage",
            "baked fried stirred tasted chopped peeled",
            "sweet spicy creamy tasty",
            "kitchen bakery diner",
        ),
        _topic(
            "space",
            "astronaut alien pilot",
            "rocket planet comet robot asteroid satellite crater telescope galaxy capsule",
            "launched orbited explored scanned tracked repaired",
            "cosmic distant glowing lunar",
            "moon observatory spaceport",
        ),
        _topic(
            "farm",
            "farmer shepherd rancher",
            "cow pig goat tractor pumpkin rooster donkey wagon turnip haystack",
            "fed milked plowed herded harvested planted",
            "muddy woolly furry leafy",
            "barn meadow stable",
        ),
        _topic(
            "music",
            "singer drummer violinist",
            "guitar piano trumpet violin melody flute banjo trombone cello accordion",
            "played tuned strummed hummed recorded practiced",
            "musical catchy rhythmic noisy",
            "stage theater studio",
        ),
        _topic(
            "hospital",
            "doctor nurse surgeon",
            "pill bandage needle thermometer stretcher wheelchair vaccine syringe crutch ointment",
            "examined prescribed injected swallowed measured sterilized",
            "sterile medical bitter painful",
            "hospital clinic pharmacy",
        ),
        _topic(
            "sport",
            "coach goalie referee",
            "ball trophy helmet jersey whistle medal racket puck hoop scoreboard",
            "kicked threw tackled dribbled blocked bounced",
            "sweaty athletic rubber winning",
            "stadium gym playground",
        ),
        _topic(
            "castle",
            "king knight wizard",
            "dragon sword crown shield throne potion jewel goblet tower scepter",
            "conquered enchanted guarded cursed defended polished",
            "royal magical golden haunted",
            "castle dungeon palace",
        ),
    )
}

MOODS: dict[str, Mood] = {
    mood.name: mood
    for mood in (
        _mood("neutral", "calm quiet busy ready", "nodded waited", "slowly calmly", "prepared introduced"),
        _mood("happy", "happy glad cheerful joyful", "smiled laughed", "happily gladly", "enjoyed amused"),
        _mood("sad", "sad lonely gloomy tearful", "cried sighed", "sadly unhappily", "blamed pitied"),
        _mood("angry", "angry mad furious grumpy", "shouted argued", "angrily rudely", "hated scolded"),
    )
}

WOMEN: tuple[str, ...] = ("Anna", "Emma", "Lucy", "Maria", "Nora", "Ruby", "Alice", "Julia")
MEN: tuple[str, ...] = ("Tom", "David", "Peter", "Oscar", "Jack", "Henry", "Simon", "Paul")
SHARED_VERBS: tuple[str, ...] = (
    *("found", "saw", "took", "wanted", "liked"),
    *("carried", "brought", "watched", "bought", "showed"),
)
NUMERALS: tuple[str, ...] = ("two", "three", "four", "many", "several")
TIMES: tuple[str, ...] = ("morning", "evening", "afternoon", "day", "night", "Monday", "Sunday")
