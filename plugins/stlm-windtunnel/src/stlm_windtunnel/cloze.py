"""Topic story-cloze in mirrored pairs (after Spoken Topic-StoryCloze, Hassid et al. 2023), between text and speech.

A pair is two stories of different topics with one hero and one mood. Each context is asked for both endings, the very
same text or audio both times: what makes one ending likelier by itself helps in one half as much as it hurts in the
other, so a scorer that does not use the context gets exactly 50 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from stlm.errors import ConfigError
from stlm.interfaces.eval_task import ChoiceItem, EvalTask
from stlm.types import Piece, Speech, TextSpan
from stlm_windtunnel.espeak import speak
from stlm_windtunnel.lexicon import MEN, MOODS, TOPICS, WOMEN
from stlm_windtunnel.performance import Performer
from stlm_windtunnel.voices import one_of
from stlm_windtunnel.world import Story, draw_cast, generator, pick, write_story

DIRECTIONS: tuple[str, ...] = ("T->T", "T->S", "S->T", "S->S")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `WindTunnelCloze`.

    Args:
        num_pairs: mirrored pairs; each gives two items per direction.
        seed: everything follows from it. The stories are of the test split whatever it is.
        directions: modality of context and ending, T for text and S for speech.
        voices: speakers to draw from; empty for all of the world's.
        style: "mood" (the style follows the story's mood), "random", or the name of one style.
        same_voice: one speaker and style for both contexts and both endings of a pair; otherwise each context has its
            own, and the two endings share theirs.
    """

    num_pairs: int = 200
    seed: int = 0
    directions: tuple[str, ...] = DIRECTIONS
    voices: tuple[str, ...] = ()
    style: str = "mood"
    same_voice: bool = False


def build(config: Config) -> WindTunnelCloze:
    return WindTunnelCloze(
        num_pairs=config.num_pairs,
        seed=config.seed,
        directions=tuple(config.directions),
        voices=tuple(config.voices),
        style=config.style,
        same_voice=config.same_voice,
    )


class WindTunnelCloze(EvalTask):
    """Which ending fits the story? See `Config` for the arguments; topic pairs are balanced.

    Raises:
        ConfigError: an unknown direction, voice or style, or a negative number.
    """

    def __init__(
        self,
        *,
        num_pairs: int = 200,
        seed: int = 0,
        directions: tuple[str, ...] = DIRECTIONS,
        voices: tuple[str, ...] = (),
        style: str = "mood",
        same_voice: bool = False,
    ) -> None:
        if num_pairs < 0:
            raise ConfigError(f"num_pairs must be 0 or more, got {num_pairs}")
        self.num_pairs, self.seed, self.same_voice = num_pairs, seed, same_voice
        self.directions = tuple(one_of("direction", direction, DIRECTIONS) for direction in directions)
        self.performer = Performer(voices=voices, style=style)
        pairs = list(combinations(TOPICS, 2))
        order = generator(seed, "cloze", "topics").permutation(len(pairs))
        self.topic_pairs = [pairs[int(index)] for index in order]

    def items(self) -> Iterator[ChoiceItem]:
        """Pair by pair, direction by direction; about 25 ms per pair with speech."""
        for index in range(self.num_pairs):
            yield from self._pair(index)

    def stories(self, index: int) -> tuple[Story, Story]:
        """The two stories of pair `index`: different topics, one hero, one mood."""
        rng = generator(self.seed, "cloze", index)
        topics = self.topic_pairs[index % len(self.topic_pairs)]
        if rng.random() < 0.5:
            topics = topics[::-1]
        mood, name = pick(rng, tuple(MOODS)), pick(rng, WOMEN + MEN)
        casts = [draw_cast(rng, topic=topic, mood=mood, name=name) for topic in topics]
        return write_story(rng, casts[0], "test"), write_story(rng, casts[1], "test")

    def _pair(self, index: int) -> Iterator[ChoiceItem]:
        stories = self.stories(index)
        contexts, endings = self._speak(index, stories)
        group = f"windtunnel_cloze-{self.seed}-{index:05d}"
        for direction in self.directions:
            source, target = direction.split("->")
            space = " " if direction == "T->T" else ""  # a continuation of running text
            written: list[Piece] = [TextSpan(text=space + story.ending) for story in stories]
            candidates = [(piece,) for piece in (written if target == "T" else endings)]
            for half, story in enumerate(stories):
                prompt: Piece = TextSpan(text=story.context) if source == "T" else contexts[half]
                yield ChoiceItem(
                    id=f"{group}-{direction}-{half + 1}",
                    group=group,
                    prompt=(prompt,),
                    candidates=candidates,
                    answer=half,
                    tags={"direction": direction, "topic": story.topic, "mood": story.mood},
                )

    def _speak(self, index: int, stories: tuple[Story, Story]) -> tuple[list[Piece], list[Piece]]:
        """Spoken contexts and spoken endings; empty lists where no direction needs them."""
        rng = generator(self.seed, "cloze", "performance", index)
        manner = self.performer.draw(rng, stories[0].mood)
        others = [self.performer.draw(rng, story.mood) for story in stories]
        contexts: list[Piece] = []
        if any(direction.startswith("S") for direction in self.directions):
            manners = [manner, manner] if self.same_voice else others
            contexts = [_speech(story.context, *how) for story, how in zip(stories, manners, strict=True)]
        endings: list[Piece] = []
        if any(direction.endswith("S") for direction in self.directions):
            endings = [_speech(story.ending, *manner) for story in stories]
        return contexts, endings


def _speech(text: str, voice: str, style: str) -> Speech:
    return Speech(audio=speak(text, voice, style)[0], meta={"text": text, "speaker": voice, "style": style})
