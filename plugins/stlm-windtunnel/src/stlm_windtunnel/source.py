"""The world as a corpus: utterance i is a function of (seed, split, kind, i) alone, so shards divide at no cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stlm.errors import ConfigError
from stlm.interfaces.source import Source
from stlm.types import Rejected, Utterance
from stlm_windtunnel.espeak import speak
from stlm_windtunnel.performance import Performer
from stlm_windtunnel.voices import one_of
from stlm_windtunnel.world import (
    ENDINGS,
    MIDDLES,
    OPENINGS,
    SPLITS,
    Story,
    draw_cast,
    generator,
    write_sentence,
    write_story,
)

KINDS: tuple[str, ...] = ("stories", "sentences")
MODALITIES: tuple[str, ...] = ("speech", "text")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `WindTunnelSource`.

    Args:
        kind: "stories" of five sentences, or single "sentences".
        modality: "speech" with word times, or "text" without audio.
        num: number of utterances.
        first: index of the first; corpora of one seed and different ranges do not repeat each other's draws.
        seed: everything follows from it.
        split: "train" or "test"; no sentence is in both.
        voices: speakers to draw from, or names of casts (world, training, unheard); empty for the world's.
        style: "mood" (the style follows the story's mood), "random", or the name of one style.
    """

    kind: str = "stories"
    modality: str = "speech"
    num: int = 1000
    first: int = 0
    seed: int = 0
    split: str = "train"
    voices: tuple[str, ...] = ()
    style: str = "mood"


def build(config: Config) -> WindTunnelSource:
    return WindTunnelSource(
        kind=config.kind,
        modality=config.modality,
        num=config.num,
        first=config.first,
        seed=config.seed,
        split=config.split,
        voices=tuple(config.voices),
        style=config.style,
    )


class WindTunnelSource(Source):
    """Stories or sentences of the world; see `Config` for the arguments.

    Raises:
        ConfigError: an unknown kind, modality, split, voice or style, or a negative number.
    """

    def __init__(
        self,
        *,
        kind: str = "stories",
        modality: str = "speech",
        num: int = 1000,
        first: int = 0,
        seed: int = 0,
        split: str = "train",
        voices: tuple[str, ...] = (),
        style: str = "mood",
    ) -> None:
        self.kind = one_of("kind", kind, KINDS)
        self.modality = one_of("modality", modality, MODALITIES)
        self.split = one_of("split", split, SPLITS)
        self.performer = Performer(voices=voices, style=style)
        for field, value in (("num", num), ("first", first), ("seed", seed)):
            if value < 0:
                raise ConfigError(f"{field} must be 0 or more, got {value}")
        self.num, self.first, self.seed = num, first, seed

    def __len__(self) -> int:
        return self.num

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        """Every `num_shards`-th utterance, from the `shard`-th on."""
        for index in range(self.first + shard, self.first + self.num, num_shards):
            yield self.utterance(index)

    def utterance(self, index: int) -> Utterance:
        """Utterance `index` of the endless corpus; about 10 ms for a spoken story, 0.2 ms for a text."""
        story = self._write(index)
        id_ = f"windtunnel-{self.kind}-{self.seed}-{index:06d}"
        if self.split != "train":
            id_ = f"windtunnel-{self.split}-{self.kind}-{self.seed}-{index:06d}"
        labels = {"topic": story.topic, "mood": story.mood}
        meta = {"kind": self.kind, "split": self.split, "seed": str(self.seed)}
        if self.modality == "text":
            return Utterance(id=f"{id_}-text", text=story.text, labels=labels, meta=meta)
        # a stream of its own, so that text and speech of one index say the same
        rng = generator(self.seed, self.split, self.kind, "performance", index)
        voice, style = self.performer.draw(rng, story.mood)
        audio, words = speak(story.text, voice, style)
        return Utterance(
            id=id_,
            audio=audio,
            text=story.text,
            words=words,
            speaker=voice,
            labels={**labels, "style": style},
            meta=meta,
        )

    def _write(self, index: int) -> Story:
        rng = generator(self.seed, self.split, self.kind, index)
        cast = draw_cast(rng)
        if self.kind == "stories":
            return write_story(rng, cast, self.split)
        sentence = write_sentence(rng, cast, OPENINGS + MIDDLES + ENDINGS, self.split)
        return Story(topic=cast.topic.name, mood=cast.mood.name, sentences=(sentence,))
