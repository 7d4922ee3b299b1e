"""The sounds of a corpus, for recipes: one bad recording is passed over with a warning, never the end of a training."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np

from stlm.audio import read_audio, resample
from stlm.errors import DataError
from stlm.types import Audio, Utterance

log = logging.getLogger(__name__)


def sounds_of(utterances: Iterable[Utterance], sample_rate: int) -> Iterator[Audio]:
    """Audio of the utterances that have some, at one rate; what cannot be read, or is not finite, is left out."""
    for utterance in utterances:
        if utterance.audio is None:
            continue
        try:
            yield _sound(utterance, sample_rate)
        except DataError as error:
            log.warning("passed over: %s", error)


def _sound(utterance: Utterance, sample_rate: int) -> Audio:
    source = utterance.audio
    assert source is not None
    if not isinstance(source, Audio):
        return read_audio(source, sample_rate)
    if not np.isfinite(source.samples).all():
        raise DataError(f"{utterance.id}: audio holds NaN or infinite samples, expected finite ones")
    return resample(source, sample_rate)
