"""The tasks: mirrored pairs, chance levels, balance."""

from collections import Counter, defaultdict

import pytest

from stlm.errors import ConfigError
from stlm.types import Speech
from stlm_windtunnel import blimp, cloze, wuggy
from stlm_windtunnel.espeak import phonemes
from stlm_windtunnel.source import WindTunnelSource
from stlm_windtunnel.world import split_of, world_words


def _text(piece) -> str:
    return piece.meta["text"] if isinstance(piece, Speech) else piece.text


def _accuracy(items, score) -> float:
    """Mean over items; `score(prompt, candidate)`, ties count one half."""
    total = 0.0
    for item in items:
        scores = [score(item.prompt, candidate) for candidate in item.candidates]
        best = [index for index, value in enumerate(scores) if value == max(scores)]
        total += (item.answer in best) / len(best)
    return total / len(items)


def _context_blind_scorers():
    return [
        lambda prompt, candidate: 0.0,
        lambda prompt, candidate: len(_text(candidate[0])),
        lambda prompt, candidate: hash(_text(candidate[0])),
        lambda prompt, candidate: -candidate[0].audio.seconds if isinstance(candidate[0], Speech) else 1.0,
    ]


@pytest.mark.parametrize("score", _context_blind_scorers())
def test_a_scorer_that_ignores_the_context_gets_exactly_half(score):
    items = list(cloze.WindTunnelCloze(num_pairs=6).items())
    by_direction = defaultdict(list)
    for item in items:
        by_direction[item.tags["direction"]].append(item)
    assert set(by_direction) == set(cloze.DIRECTIONS)
    for direction_items in by_direction.values():
        assert _accuracy(direction_items, score) == 0.5


def test_both_halves_of_a_mirrored_pair_have_the_very_same_endings():
    for direction in cloze.DIRECTIONS:
        items = list(cloze.WindTunnelCloze(num_pairs=3, directions=(direction,)).items())
        for first, second in zip(items[::2], items[1::2], strict=True):
            assert first.group == second.group and (first.answer, second.answer) == (0, 1)
            assert first.tags["topic"] != second.tags["topic"]
            assert first.candidates == second.candidates
            if direction.endswith("S"):
                right, wrong = (candidate[0] for candidate in first.candidates)
                assert right is first.candidates[0][0] and right is second.candidates[0][0]
                assert (right.meta["speaker"], right.meta["style"]) == (wrong.meta["speaker"], wrong.meta["style"])


def test_knowing_the_topic_solves_the_cloze():
    task = cloze.WindTunnelCloze(num_pairs=28, directions=("T->T",))
    from stlm_windtunnel.lexicon import TOPICS

    def score(prompt, candidate):
        return max(
            min(sum(word in _text(piece) for word in topic.words) for piece in (prompt[0], candidate[0]))
            for topic in TOPICS.values()
        )

    assert _accuracy(list(task.items()), score) > 0.95


def test_topic_pairs_are_balanced():
    task = cloze.WindTunnelCloze(num_pairs=56)
    pairs = Counter(frozenset(story.topic for story in task.stories(index)) for index in range(56))
    assert len(pairs) == 28 and set(pairs.values()) == {2}
    answers = Counter(task.stories(index)[0].topic for index in range(56))
    assert len(answers) == 8


def test_the_stories_of_the_cloze_were_never_in_training():
    stories = [story for index in range(20) for story in cloze.WindTunnelCloze().stories(index)]
    assert all(split_of(sentence) == "test" for story in stories for sentence in story.sentences)
    trained = {u.text for u in WindTunnelSource(modality="text", num=300).utterances()}
    assert not {story.text for story in stories} & trained
    assert not any(story.ending in text or story.context in text for story in stories for text in trained)


def test_text_continues_text_with_a_space_and_nothing_else():
    for item in cloze.WindTunnelCloze(num_pairs=2).items():
        ending = item.candidates[0][0]
        if not isinstance(ending, Speech):
            assert ending.text.startswith(" ") == (item.tags["direction"] == "T->T")


def test_one_voice_for_the_whole_pair_if_asked():
    task = cloze.WindTunnelCloze(num_pairs=6, directions=("S->S",), same_voice=True)
    speakers = defaultdict(set)
    for item in task.items():
        speakers[item.group] |= {piece[0].meta["speaker"] for piece in (item.prompt, *item.candidates)}
    assert all(len(names) == 1 for names in speakers.values())


def test_non_words_are_new_but_alike():
    task = wuggy.WindTunnelWuggy()
    known = set(world_words())
    sounds = {phonemes(word) for word in known}
    for index in range(40):
        pair = task.pair(index)
        assert pair.right in known and pair.wrong not in known
        assert phonemes(pair.wrong) not in sounds
        assert abs(len(pair.right) - len(pair.wrong)) <= 1
        assert pair == wuggy.WindTunnelWuggy().pair(index)
    assert len({task.pair(index).right for index in range(100)}) == 100


def test_ungrammatical_sentences_differ_in_one_word_or_in_order():
    task = blimp.WindTunnelBlimp()
    phenomena = Counter()
    for index in range(100):
        pair = task.pair(index)
        phenomena[pair.phenomenon] += 1
        right, wrong = pair.right.split(), pair.wrong.split()
        differing = sum(first != second for first, second in zip(right, wrong, strict=True))
        if pair.phenomenon == "word_order":
            assert sorted(map(str.lower, right)) == sorted(map(str.lower, wrong)) and differing == 2
        else:
            assert differing == 1
        assert split_of(pair.right) == "test"
    assert len(phenomena) == 5 and set(phenomena.values()) == {20}


def test_counting_words_does_not_solve_agreement():
    task = blimp.WindTunnelBlimp()
    pairs = [task.pair(index) for index in range(200)]
    for phenomenon, word in (("subject_verb", "was"), ("determiner_noun", "this"), ("subject_verb", "were")):
        chosen = [pair for pair in pairs if pair.phenomenon == phenomenon]
        assert sum(word in pair.right.lower().split() for pair in chosen) == len(chosen) / 2


@pytest.mark.parametrize("module", [wuggy, blimp])
def test_minimal_pairs_come_in_both_modalities_without_prompt(module):
    items = list(module.build(module.Config(num_pairs=4)).items())
    assert Counter(item.tags["modality"] for item in items) == {"text": 4, "speech": 4}
    assert all(not item.prompt and len(item.candidates) == 2 for item in items)
    assert {item.answer for item in items} == {0, 1}


def test_bad_settings_say_how_to_mend_them():
    with pytest.raises(ConfigError, match="direction 'S->X' is unknown"):
        cloze.build(cloze.Config(directions=("S->X",)))
    with pytest.raises(ConfigError, match="did you mean 'speech'"):
        blimp.build(blimp.Config(modalities=("speach",)))
    with pytest.raises(ConfigError, match="num_pairs"):
        wuggy.build(wuggy.Config(num_pairs=-1))
