"""The grammar: size, splits, form."""

import re
from collections import Counter
from itertools import combinations

from stlm_windtunnel.lexicon import MOODS, TOPICS
from stlm_windtunnel.voices import CASTS, STYLES, VOICES, cast, check_voice
from stlm_windtunnel.world import draw_cast, generator, split_of, world_words, write_story


def _stories(split: str, num: int = 400, seed: int = 0):
    for index in range(num):
        rng = generator(seed, split, "stories", index)
        yield write_story(rng, draw_cast(rng), split)


STORIES = list(_stories("train"))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_the_world_is_large_enough():
    seen = {word for story in STORIES for word in _words(story.text)}
    assert len(seen) >= 300
    assert seen <= set(world_words())
    assert len({story.topic for story in STORIES}) == len(TOPICS) >= 8
    assert {story.mood for story in STORIES} == set(MOODS) == set(STYLES)
    assert len(VOICES) >= 4 and len(STYLES) >= 4


def test_topics_share_no_word():
    for first, second in combinations(TOPICS.values(), 2):
        assert not set(first.words) & set(second.words)
    shared = set(world_words()) - {word for topic in TOPICS.values() for word in topic.words}
    assert len(shared) >= 80


def test_sentences_are_short_plain_and_on_topic():
    for story in STORIES:
        assert len(set(story.sentences)) == 5
        for sentence in story.sentences:
            assert re.fullmatch(r"[A-Z][A-Za-z]*(,? [A-Za-z]+)+\.", sentence)
            assert 5 <= len(sentence.split()) <= 8
            assert set(_words(sentence)) & set(TOPICS[story.topic].words)


def test_a_sentence_names_two_to_four_topical_words_mostly():
    counts = Counter(
        sum(word in TOPICS[story.topic].words for word in _words(sentence))
        for story in STORIES
        for sentence in story.sentences
    )
    assert max(counts) <= 4
    assert counts[1] < 0.2 * counts.total()


def test_no_sentence_is_in_both_splits():
    test = list(_stories("test", 60))
    assert all(split_of(sentence) == "test" for story in test for sentence in story.sentences)
    assert all(split_of(sentence) == "train" for story in STORIES for sentence in story.sentences)


def test_moods_are_expressed_in_words():
    said = Counter()
    for story in STORIES:
        mood = MOODS[story.mood]
        said[story.mood] += bool(
            {*mood.adjectives, *mood.verbs, *mood.adverbs, *mood.reflexives} & set(_words(story.text))
        )
    assert min(said.values()) > 40
    own = [{*mood.adjectives, *mood.verbs, *mood.adverbs, *mood.reflexives} for mood in MOODS.values()]
    assert all(not first & second for first, second in combinations(own, 2))


def test_stories_follow_the_seed_and_do_not_repeat():
    assert list(_stories("train", 20)) == STORIES[:20]
    assert len({story.text for story in STORIES}) == len(STORIES)
    assert list(_stories("train", 5, seed=1)) != STORIES[:5]


def test_casts_are_known_voices_and_training_never_hears_the_unheard() -> None:
    assert all(check_voice(voice) for voices in CASTS.values() for voice in voices)
    assert not set(CASTS["training"]) & set(CASTS["unheard"])
    assert set(VOICES) <= set(CASTS["training"])


def test_voices_and_casts_mix_without_repetition() -> None:
    assert cast(()) == VOICES
    assert cast(("en-us+m5", "world", "en-us")) == ("en-us+m5", *VOICES)
