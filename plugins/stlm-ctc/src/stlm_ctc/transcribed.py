"""Recordings with their transcripts as symbols, checked before anything is learnt from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stlm.errors import DataError
from stlm.learn.ctc_alignment import frames_needed
from stlm.learn.error_rates import normalize
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.types import Utterance
from stlm_ctc.network import NetworkOptions

log = logging.getLogger(__name__)

NUM_CANDIDATES = 256  # recordings drawn at random, of which those of like length make a batch
HELD_OUT_EVERY = 20
MOST_HELD_OUT = 200
FRAMES_PER_SECOND = 100  # of the mel spectrum


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribed:
    """Recordings, each with the characters that it says.

    Args:
        recordings: the sounds.
        texts: in normal form, one for each.
    """

    recordings: Recordings
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def seconds(self) -> np.ndarray:
        """``float64[N]``: length of each recording."""
        return np.array([item.audio.seconds for item in self.recordings.utterances if item.audio is not None])

    @property
    def alphabet(self) -> str:
        """All characters that occur, the space first."""
        return " " + "".join(sorted(set("".join(self.texts)) - {" "}))


def transcribed(
    utterances: Iterable[Utterance], *, sample_rate: int, longest: float, options: NetworkOptions
) -> tuple[Transcribed, Transcribed]:
    """Recordings to train on, and every twentieth (of 40 or more) to measure on.

    Args:
        utterances: those without a transcript, with digits in it, too long, or too short for their text are left out.
        sample_rate: of the sound.
        longest: recording, in seconds.
        options: of the network, which say how many frames a recording has.

    Raises:
        DataError: nothing is left, or all of it is silence.
    """
    kept: list[Utterance] = []
    texts: list[str] = []
    reasons: dict[str, int] = {}
    for utterance in utterances:
        reason = _unfit(utterance, longest, options)
        if reason is None:
            kept.append(utterance)
            texts.append(normalize(utterance.text or ""))
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    summary = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if not kept:
        raise DataError(
            f"recipe ctc found no recording that it can learn from ({summary or 'the source is empty'}), expected "
            "recordings with their spoken words: give a folder with a .txt beside each recording"
        )
    if reasons:
        log.warning("left out of %d recordings: %s", len(kept) + sum(reasons.values()), summary)
    warn_of_one_speaker(kept, "recipe ctc")
    held_out = np.zeros(len(kept), bool)
    if len(kept) >= 2 * HELD_OUT_EVERY:
        held_out[:: max(HELD_OUT_EVERY, -(-len(kept) // MOST_HELD_OUT))] = True
    return tuple(_part(kept, texts, chosen, sample_rate) for chosen in (~held_out, held_out))  # pyright: ignore


def _part(kept: Sequence[Utterance], texts: Sequence[str], chosen: np.ndarray, sample_rate: int) -> Transcribed:
    places = np.flatnonzero(chosen)
    if not len(places):
        places = np.arange(len(kept))  # too few to hold any out: measured on what was learnt
    recordings = Recordings([kept[place] for place in places], sample_rate, what="recipe ctc")
    return Transcribed(recordings=recordings, texts=tuple(texts[place] for place in places))


def _unfit(utterance: Utterance, longest: float, options: NetworkOptions) -> str | None:
    """Why nothing can be learnt from an utterance, or None."""
    if utterance.audio is None or not utterance.text:
        return "without sound or transcript"
    text = normalize(utterance.text)
    if any(character.isdecimal() for character in utterance.text):
        return "with digits in the transcript (write numbers as they are spoken)"
    if not text:
        return "without a letter in the transcript"
    if utterance.audio.seconds > longest:
        return f"longer than {longest:g} s (longest)"
    if frames_needed(text) > options.num_frames(int(utterance.audio.seconds * FRAMES_PER_SECOND)):
        return "too short for their transcript"
    return None


def draw_group(seconds: np.ndarray, batch_seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Places of recordings of like length that fill a batch; each is as likely as any other."""
    count = min(len(seconds), NUM_CANDIDATES)
    candidates = rng.choice(len(seconds), count, replace=False)
    candidates = candidates[np.argsort(seconds[candidates], kind="stable")]
    groups: list[list[int]] = [[]]
    for place in candidates.tolist():
        if groups[-1] and (len(groups[-1]) + 1) * seconds[place] > batch_seconds:
            groups.append([])
        groups[-1].append(place)
    return np.array(groups[int(rng.integers(len(groups)))])
