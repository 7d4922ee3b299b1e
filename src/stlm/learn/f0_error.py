"""F0 frame error: how much of one recording's pitch another one keeps (Chu and Alwan, 2009).

Two contours, or two recordings whose F0 is found by YIN (de Cheveigné and Kawahara, 2002), in; the share of frames out
whose voicing differs, or whose F0 does by more than 20 %. A minute of speech at 16 kHz takes 0.2 s on one core.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stlm.errors import ConfigError, DataError
from stlm.types import Audio

WINDOW = 512
"""Samples, at the recording's own rate, over which YIN sums (the protocol's extractor)."""
HOP = 256
"""Samples, at the recording's own rate, between two frames (the protocol's extractor)."""
FLOOR_HZ = 100.0
"""Lowest F0 of the protocol. It misses low male voices: 50 Hz is the other floor to report."""
CEILING_HZ = 500.0
THRESHOLD = 0.1
"""Normalised difference below which a lag is a period (YIN, step 4, and the protocol's extractor)."""
GROSS = 0.2
"""Relative deviation of F0 above which a frame is a gross error."""
EPSILON = 1e-8
"""Added to the reference F0 by the protocol. It decides nothing but that a deviation of exactly -20 % is an error."""
BLOCK = 1024  # frames of which YIN keeps the lags at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Contour:
    """F0 on a clock.

    Args:
        times: ``float64[T]`` in seconds, rising.
        f0: ``float64[T]`` in Hz, 0 where unvoiced.
    """

    times: np.ndarray
    f0: np.ndarray

    def __post_init__(self) -> None:
        if self.times.shape != self.f0.shape or self.times.ndim != 1:
            raise DataError(f"times and f0 must be [T] both, got {list(self.times.shape)} and {list(self.f0.shape)}")

    def at(self, times: np.ndarray) -> np.ndarray:
        """F0 of the nearest frame, the earlier of two as near; 0 before the first frame and after the last."""
        if not len(self.times):
            return np.zeros(len(times))
        middles = (self.times[1:] + self.times[:-1]) / 2
        found = self.f0[np.searchsorted(middles, times, side="left")]
        return np.where((times >= self.times[0]) & (times <= self.times[-1]), found, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class F0Errors:
    """Frames of a reference, and those among them that are wrong."""

    gross: int
    voicing: int
    frames: int

    @property
    def rate(self) -> float:
        """F0 frame error."""
        return (self.gross + self.voicing) / self.frames


def compare(reference: np.ndarray, other: np.ndarray) -> F0Errors:
    """Errors of F0 ``float[T]`` against a reference ``float[T]``; in Hz, 0 where unvoiced.

    Raises:
        DataError: they differ in length, or there is no frame.
    """
    if reference.shape != other.shape or reference.ndim != 1 or not len(reference):
        raise DataError(
            f"F0 frame error needs two contours [T] of one length, got {list(reference.shape)} and "
            f"{list(other.shape)}: give recordings of at least {WINDOW} samples and a few periods"
        )
    voiced, heard = reference > 0, other > 0
    deviation = np.abs(other.astype(np.float64) / (reference.astype(np.float64) + EPSILON) - 1)
    gross = voiced & heard & (deviation > GROSS)
    return F0Errors(gross=int(gross.sum()), voicing=int((voiced != heard).sum()), frames=len(reference))


def f0_errors(reference: Audio, synthesised: Audio, *, floor_hz: float = FLOOR_HZ) -> F0Errors:
    """Errors of a recording's F0 against another's, on the clock of the latter.

    Raises:
        DataError: they differ in sampling rate, or the reference is too short for a frame.
    """
    if reference.sample_rate != synthesised.sample_rate:
        raise DataError(
            f"F0 frame error got {reference.sample_rate} and {synthesised.sample_rate} Hz, expected one sampling rate: "
            "YIN's frames are counted in samples; resample one of the two"
        )
    wanted = yin(reference, floor_hz=floor_hz)
    return compare(wanted.f0, yin(synthesised, floor_hz=floor_hz).at(wanted.times))


def mean_rate(errors: Iterable[F0Errors]) -> float:
    """F0 frame error of a corpus: the mean over its utterances, however long each is.

    Raises:
        DataError: there is none.
    """
    rates = [item.rate for item in errors]
    if not rates:
        raise DataError("F0 frame error got no utterance, expected at least one")
    return float(np.mean(rates))


def above(f0: np.ndarray, floor_hz: float) -> np.ndarray:
    """F0 with what lies below a floor set to 0, unvoiced."""
    return np.where(f0 >= floor_hz, f0, 0.0)


def yin(
    audio: Audio, *, floor_hz: float = FLOOR_HZ, ceiling_hz: float = CEILING_HZ, threshold: float = THRESHOLD
) -> Contour:
    """F0 by YIN's steps 1 to 4: the first lag whose normalised difference dips below the threshold, at its minimum.

    Frame t sums over the `WINDOW` samples from ``t * HOP`` on, and its lags reach beyond them, so a low floor costs no
    accuracy at a high sampling rate. Without such a lag a frame is unvoiced.

    Raises:
        ConfigError: the range of F0 is empty.
    """
    if not 0 < floor_hz < ceiling_hz <= audio.sample_rate / 2:
        raise ConfigError(
            f"YIN needs 0 < floor < ceiling <= {audio.sample_rate / 2:g} Hz, got {floor_hz:g} and {ceiling_hz:g}"
        )
    shortest, longest = int(audio.sample_rate / ceiling_hz), int(audio.sample_rate / floor_hz)
    samples = audio.samples.astype(np.float64)
    frames = max(0, (len(samples) - WINDOW - longest) // HOP + 1)
    pieces = np.lib.stride_tricks.sliding_window_view(samples, WINDOW + longest)[::HOP] if frames else np.zeros((0, 1))
    lags = [
        _periods(_normalised(pieces[start : start + BLOCK], longest), shortest, threshold)
        for start in range(0, frames, BLOCK)
    ]
    lag = np.concatenate([*lags, np.zeros(0, np.int64)])
    f0 = np.divide(audio.sample_rate, lag, out=np.zeros(frames), where=lag > 0)
    return Contour(times=np.arange(frames) * HOP / audio.sample_rate, f0=f0)


def _normalised(pieces: np.ndarray, longest: int) -> np.ndarray:
    """YIN's d' (its equation 8) ``float64[T, longest + 1]`` of pieces ``float64[T, WINDOW + longest]``."""
    size = 1 << (pieces.shape[1] - 1).bit_length()
    windows = np.fft.rfft(pieces[:, :WINDOW], size)
    products = np.fft.irfft(np.fft.rfft(pieces, size) * windows.conj(), size)[:, : longest + 1]
    sums = np.pad(np.cumsum(pieces**2, axis=1), ((0, 0), (1, 0)))
    energies = sums[:, WINDOW : WINDOW + longest + 1] - sums[:, : longest + 1]
    difference = np.maximum(energies[:, :1] + energies - 2 * products, 0)[:, 1:]  # equation 7
    running = np.cumsum(difference, axis=1)
    order = np.arange(1, longest + 1)
    scaled = np.divide(difference * order, running, out=np.ones_like(difference), where=running > 0)
    return np.pad(scaled, ((0, 0), (1, 0)), constant_values=1.0)


def _periods(scaled: np.ndarray, shortest: int, threshold: float) -> np.ndarray:
    """``int64[T]``: from the first lag below the threshold down to the next minimum; 0 where there is none."""
    lags = np.arange(scaled.shape[1])
    below = (scaled < threshold) & (lags >= shortest)
    first = below.argmax(1)
    rising = np.pad(scaled[:, 1:] >= scaled[:, :-1], ((0, 0), (0, 1)), constant_values=True)
    minimum = (rising & (lags >= first[:, None])).argmax(1)
    return np.where(below.any(1), minimum, 0)
