"""Grammatical against ungrammatical sentences of the world (after BLiMP, Warstadt et al. 2020), written and spoken.

The two forms have the same words but one, or the same words in another order, and both forms of a contrast are right
equally often ("was" with singulars, "were" with plurals), so that counting words does not help.
"""

from __future__ import annotations

from dataclasses import dataclass

from stlm_windtunnel.minimal_pairs import MODALITIES, MinimalPair, MinimalPairs
from stlm_windtunnel.world import draw_cast, draw_roles, fill, generator, split_of

# right frame, wrong frame; {other} is the singular of {things}
PHENOMENA: dict[str, tuple[tuple[str, str], ...]] = {
    "subject_verb": (
        ("The {how} {things} were near the {thing}.", "The {how} {things} was near the {thing}."),
        ("The {how} {thing} was near the {things}.", "The {how} {thing} were near the {things}."),
        ("These {how} {things} were from the {place}.", "These {how} {things} was from the {place}."),
        ("This {how} {thing} was from the {place}.", "This {how} {thing} were from the {place}."),
    ),
    "determiner_noun": (
        ("{name} {did} this {how} {thing}.", "{name} {did} these {how} {thing}."),
        ("{name} {did} these {how} {things}.", "{name} {did} this {how} {things}."),
    ),
    "numeral_noun": (
        ("{name} {shared} {many} {how} {things}.", "{name} {shared} {many} {how} {other}."),
        ("{name} {did} this {how} {other}.", "{name} {did} this {how} {things}."),
    ),
    "reflexive_gender": (
        ("{name} {mood_self} {himself} at the {place}.", "{name} {mood_self} {wrong_self} at the {place}."),
    ),
    "word_order": (
        ("{name} {did} the {how} {thing}.", "{name} {did} {how} the {thing}."),
        ("The {person} {did} the {how} {thing}.", "The {person} the {did} {how} {thing}."),
        ("The {how} {thing} was near the {things}.", "The {thing} {how} was near the {things}."),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of `WindTunnelBlimp`; see `MinimalPairs`."""

    num_pairs: int = 200
    seed: int = 0
    modalities: tuple[str, ...] = MODALITIES
    voices: tuple[str, ...] = ()
    style: str = "neutral"


def build(config: Config) -> WindTunnelBlimp:
    return WindTunnelBlimp(
        num_pairs=config.num_pairs,
        seed=config.seed,
        modalities=tuple(config.modalities),
        voices=tuple(config.voices),
        style=config.style,
    )


class WindTunnelBlimp(MinimalPairs):
    """Five phenomena in turn, tagged "phenomenon"; the grammatical sentence is of the test split."""

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
            name="windtunnel_blimp",
            num_pairs=num_pairs,
            seed=seed,
            modalities=modalities,
            voices=voices,
            style=style,
        )

    def pair(self, index: int) -> MinimalPair:
        rng = generator(self.seed, self.name, index)
        phenomenon = tuple(PHENOMENA)[index % len(PHENOMENA)]
        frames = PHENOMENA[phenomenon]
        right_frame, wrong_frame = frames[index // len(PHENOMENA) % len(frames)]
        while True:
            roles = draw_roles(rng, draw_cast(rng))
            roles["wrong_self"] = "himself" if roles["himself"] == "herself" else "herself"
            right = fill(right_frame, roles)
            if split_of(right) == "test":
                return MinimalPair(right=right, wrong=fill(wrong_frame, roles), phenomenon=phenomenon)
