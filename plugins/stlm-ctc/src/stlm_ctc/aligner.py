"""`CtcAligner`: when each word of a known text is said, by the likeliest path of its characters (Viterbi).

The words are those of the text as it stands, with case, numbers and inner punctuation. Characters that the recogniser
does not know are passed over; a word of such characters alone ("1984", for a recogniser of letters) takes its share of
the time between its neighbours.

A network trained by CTC tells a character some time after it began. How late it tells the first and the last of a word
is measured by the recipe where held-out recordings have word times, and taken off here.
"""

from __future__ import annotations

import numpy as np

from stlm.errors import DataError, FormatError
from stlm.interfaces import Aligner
from stlm.learn.ctc_alignment import align_by_ctc, spelled, symbols_in
from stlm.types import Audio, Word
from stlm_ctc.recogniser import BLANK, Config, Recogniser, load_recogniser
from stlm_ctc.transcribed import Transcribed

SPACE = " "


def build(config: Config) -> CtcAligner:
    return CtcAligner(load_recogniser(config.path, config.device))


class CtcAligner(Aligner):
    """Word times of a text that is spoken in the audio."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser
        self._lateness = _lateness_in(recogniser)

    def align(self, audio: Audio, text: str) -> tuple[Word, ...]:
        known = self.recogniser.symbols
        words = spelled(text, lambda word: symbols_in(word, known), known)
        (emission,) = self.recogniser.emissions([audio])
        return align_by_ctc(
            emission,
            words,
            audio,
            text,
            seconds_per_frame=self.recogniser.hop / self.recogniser.sample_rate,
            blank=BLANK,
            space=known.get(SPACE),
            lateness=self._lateness,
        )


def _lateness_in(recogniser: Recogniser) -> np.ndarray:
    """``float64[2]``: seconds by which starts and ends of words are late."""
    found = recogniser.notes.get("lateness", [0.0, 0.0])
    if not isinstance(found, list) or len(found) != 2 or not all(isinstance(value, float) for value in found):
        raise FormatError(f"the recogniser's lateness must be two numbers of seconds, got {found!r}: train it again")
    return np.array(found)


def measure_lateness(recogniser: Recogniser, data: Transcribed) -> list[float] | None:
    """Medians over the words of recordings with word times, of start and end, in seconds; None where none has any."""
    aligner = CtcAligner(recogniser)
    late: list[tuple[float, float]] = []
    for place, utterance in enumerate(data.recordings.utterances):
        if not utterance.words or utterance.audio is None:
            continue
        audio = Audio(samples=data.recordings[place], sample_rate=recogniser.sample_rate)
        try:
            found = {word.char_start: word for word in aligner.align(audio, utterance.text or "")}
        except DataError:
            continue
        scale = recogniser.sample_rate / utterance.audio.sample_rate
        for word in utterance.words:
            if (got := found.get(word.char_start)) is not None and got.text == word.text:
                late.append((got.start - word.start * scale, got.end - word.end * scale))
    return (np.median(late, axis=0) / recogniser.sample_rate).round(4).tolist() if late else None
