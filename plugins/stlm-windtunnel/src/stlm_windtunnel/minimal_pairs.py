"""What the minimal-pair tasks share: one right and one wrong form, written and spoken, without a prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from stlm.errors import ConfigError
from stlm.interfaces.eval_task import ChoiceItem, EvalTask
from stlm.types import Piece, Speech, TextSpan
from stlm_windtunnel.espeak import speak
from stlm_windtunnel.performance import Performer
from stlm_windtunnel.voices import one_of
from stlm_windtunnel.world import generator

MODALITIES: tuple[str, ...] = ("text", "speech")


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalPair:
    """Two forms that differ in what `phenomenon` names."""

    right: str
    wrong: str
    phenomenon: str


class MinimalPairs(EvalTask):
    """A task of minimal pairs; implement `pair`, a function of the index.

    Args:
        name: of the task, for ids and random streams.
        num_pairs: each gives one item per modality.
        seed: everything follows from it.
        modalities: "text", "speech".
        voices: speakers to draw from; empty for all of the world's. Both forms of a pair have one speaker and style.
        style: "random", or the name of one style.

    Raises:
        ConfigError: an unknown modality, voice or style, or a negative number.
    """

    def __init__(
        self, *, name: str, num_pairs: int, seed: int, modalities: tuple[str, ...], voices: tuple[str, ...], style: str
    ) -> None:
        if num_pairs < 0:
            raise ConfigError(f"num_pairs must be 0 or more, got {num_pairs}")
        self.name, self.num_pairs, self.seed = name, num_pairs, seed
        self.modalities = tuple(one_of("modality", modality, MODALITIES) for modality in modalities)
        self.performer = Performer(voices=voices, style=style)

    @abstractmethod
    def pair(self, index: int) -> MinimalPair:
        """Pair `index`, the same in every process."""

    def items(self) -> Iterator[ChoiceItem]:
        """Pair by pair; the right form comes first in every other pair."""
        for index in range(self.num_pairs):
            pair = self.pair(index)
            answer = index % 2
            forms = (pair.wrong, pair.right) if answer else (pair.right, pair.wrong)
            voice, style = self.performer.draw(generator(self.seed, self.name, "performance", index), "neutral")
            group = f"{self.name}-{self.seed}-{index:05d}"
            for modality in self.modalities:
                yield ChoiceItem(
                    id=f"{group}-{modality}",
                    group=group,
                    prompt=(),
                    candidates=[(_piece(form, modality, voice, style),) for form in forms],
                    answer=answer,
                    tags={"modality": modality, "phenomenon": pair.phenomenon},
                )


def _piece(text: str, modality: str, voice: str, style: str) -> Piece:
    if modality == "text":
        return TextSpan(text=text)
    return Speech(audio=speak(text, voice, style)[0], meta={"text": text, "speaker": voice, "style": style})
