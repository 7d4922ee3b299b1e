"""Mirrored continuation over any corpus: which of two endings belongs to this beginning?

Two utterances make one pair: beginning 1 with endings 1 and 2, beginning 2 with the same endings, so that a scorer
blind to the beginning gets exactly 50 %. Utterances are cut at the word boundary nearest the middle; without word times
speech is cut at the corresponding share of its length and cross-modal directions are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stlm.audio import read_audio
from stlm.errors import ConfigError
from stlm.interfaces.eval_task import ChoiceItem, EvalTask
from stlm.types import Audio, Piece, Speech, TextSpan, Utterance, text_boundaries

DIRECTIONS = ("T->T", "T->S", "S->T", "S->S")


class MirroredContinuation(EvalTask):
    """Pairs of neighbouring utterances.

    Args:
        utterances: held-out utterances with text, audio or both; two neighbours make a pair.
        directions: which of "T->T", "T->S", "S->T", "S->S".

    Raises:
        ConfigError: unknown direction.
    """

    def __init__(self, utterances: Sequence[Utterance], directions: Sequence[str] = DIRECTIONS) -> None:
        for direction in directions:
            if direction not in DIRECTIONS:
                raise ConfigError(f"directions are {', '.join(DIRECTIONS)}, got {direction!r}")
        self.utterances = list(utterances)
        self.directions = tuple(directions)

    def items(self) -> Iterator[ChoiceItem]:
        halves = [halve(utterance) for utterance in self.utterances]
        for pair in range(len(halves) // 2):
            two = halves[2 * pair : 2 * pair + 2]
            for direction in self.directions:
                given, asked = direction[0], direction[-1]
                if not all(given in half and asked in half for half in two):
                    continue
                if given != asked and not all(half["exact"] for half in two):
                    continue
                endings = [half[asked][1] for half in two]
                for side, half in enumerate(two):
                    yield ChoiceItem(
                        id=f"{pair}-{direction}-{side}",
                        group=str(pair),
                        prompt=half[given][0],
                        candidates=endings,
                        answer=side,
                        tags={"direction": direction},
                    )


def halve(utterance: Utterance) -> dict[str, list[Sequence[Piece]]]:
    """Beginning and ending by modality ("T", "S"); "exact" is non-empty if both are cut at the same word."""
    found: dict[str, list[Sequence[Piece]]] = {"exact": []}
    text, words = utterance.text or "", utterance.words
    middle = len(words) // 2
    if len(words) > 1:
        cut = text_boundaries(text, words)[middle]
    else:
        cut = text.find(" ", len(text) // 2)
    if cut > 0 and text[:cut].strip() and text[cut:].strip():
        found["T"] = [[TextSpan(text=text[:cut])], [TextSpan(text=text[cut:])]]
    if utterance.audio is not None:
        audio = utterance.audio if isinstance(utterance.audio, Audio) else read_audio(utterance.audio)
        sample = words[middle].start if len(words) > 1 else audio.num_samples // 2
        if 0 < sample < audio.num_samples:
            found["S"] = [[Speech(audio=part)] for part in _parts(audio, sample)]
    if len(words) > 1 and "S" in found and "T" in found:
        found["exact"] = [[]]
    return found


def _parts(audio: Audio, sample: int) -> tuple[Audio, Audio]:
    before, after = audio.samples[:sample], audio.samples[sample:]
    return (
        Audio(samples=before, sample_rate=audio.sample_rate),
        Audio(samples=after, sample_rate=audio.sample_rate),
    )
