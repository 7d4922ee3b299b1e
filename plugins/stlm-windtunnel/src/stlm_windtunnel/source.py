"""The world as a corpus: utterance i is a function of (seed, split, kind, i) alone, so shards divide at no cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stlm.errors import ConfigError, did_you_mean
from stlm.interfaces.source import Source
from stlm.types import Rejected, Utterance
from stlm_windtunnel.espeak import speak
from stlm_windtunnel.voices import STYLES, VOICES, check_voice, style_named
from stlm_windtunnel.world import (
    ENDINGS,
    MIDDLES,
    OPENINGS,
    Story,
    check_split,
    draw_cast,
    generator,
    pick,
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
        voices: speakers to draw from; empty for all of the world's.
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
        self.kind = _one_of("kind", kind, KINDS)
        self.modality = _one_of("modality", modality, MODALITIES)
        self.split = check_split(split)
        self.style = _one_of("style", style, ("mood", "random", *STYLES))
        self.voices = tuple(check_voice(voice) for voice in voices or VOICES)
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
        voice, style = self._performance(index, story)
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

    def _performance(self, index: int, story: Story) -> tuple[str, str]:
        # a stream of its own, so that text and speech of one index say the same
        rng = generator(self.seed, self.split, self.kind, "performance", index)
        voice = pick(rng, self.voices)
        style = {"mood": story.mood, "random": pick(rng, tuple(STYLES))}.get(self.style, self.style)
        style_named(style)
        return voice, style


def _one_of(field: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ConfigError(f"{field} {value!r} is unknown{did_you_mean(value, choices)}; choose one of {list(choices)}")
    return value
