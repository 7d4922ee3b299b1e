"""Recordings to the contours that a VQ-VAE learns from: F0 found once, kept in memory (1.6 kB a second of sound)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from stlm.errors import DataError
from stlm.interfaces import F0Extractor
from stlm.learn.sounds import Recordings, warn_of_one_speaker
from stlm.types import Audio, Utterance
from stlm_pitch.checkpoint import SAMPLE_RATE
from stlm_pitch.contour import ContourOptions, contour
from stlm_pitch.encoder import CHUNK, SHORTEST

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Melody:
    """The contour of a piece.

    Args:
        rows: ``float32[2, T']``, F0 in Hz and voicing, as the VQ-VAE sees them.
        f0: ``float32[T']`` in Hz, 0 where unvoiced.
        mean_hz: what `rows` lack of `f0`.
    """

    rows: torch.Tensor
    f0: np.ndarray
    mean_hz: float

    @property
    def is_voiced(self) -> bool:
        return bool(self.rows[1].any())


def melodies_of(utterances: Iterable[Utterance], extractor: F0Extractor, options: ContourOptions) -> list[Melody]:
    """The contours of a corpus; what has no voice at all is passed over.

    Raises:
        DataError: no recording, silence alone, or no voice anywhere.
    """
    recordings = Recordings(utterances, SAMPLE_RATE, shortest=SHORTEST / SAMPLE_RATE, what="pitch_vqvae")
    warn_of_one_speaker(recordings.utterances, "pitch_vqvae")
    with tqdm(total=round(recordings.seconds), desc="F0", unit="s of audio") as bar:
        found = [melody for samples in recordings for melody in _melodies(samples, extractor, options, bar)]
    voiced = [melody for melody in found if melody.is_voiced]
    if not voiced:
        raise DataError(
            f"pitch_vqvae got {len(recordings)} recordings, and the F0 extractor found no voice in any, expected "
            "speech: check the files, or choose another extractor by f0"
        )
    if len(voiced) < len(found):
        log.warning("passed over %d of %d recordings: no voice in them", len(found) - len(voiced), len(found))
    return voiced


def _melodies(samples: np.ndarray, extractor: F0Extractor, options: ContourOptions, bar: tqdm) -> Iterator[Melody]:
    """Of the pieces that the encoder will cut such a recording into."""
    for start in range(0, len(samples), CHUNK):
        piece = Audio(samples=samples[start : start + CHUNK], sample_rate=SAMPLE_RATE)
        if piece.num_samples >= SHORTEST:
            yield _melody(*extractor.extract(piece), piece.num_samples, options)
        bar.update(round((start + piece.num_samples) / SAMPLE_RATE) - round(start / SAMPLE_RATE))


def _melody(f0: np.ndarray, voiced: np.ndarray, num_samples: int, options: ContourOptions) -> Melody:
    plain = contour(f0, voiced, num_samples, ContourOptions(interpolate=options.interpolate, subtract_mean=False))
    heard = plain[0][plain[1] > 0]
    return Melody(
        rows=contour(f0, voiced, num_samples, options),
        f0=(plain[0] * plain[1]).numpy(),
        mean_hz=float(heard.mean()) if options.subtract_mean and len(heard) else 0.0,
    )
