"""Sounds made different without another meaning: speed, pitch, reverberation, noise.

``float32[N]`` at 16 kHz in and out. Everything random comes from the generator that is handed in. One second costs
about 0.2 ms (`change_speed`), 0.5 ms (`stretch`) or 1 ms (`shift_pitch`, `reverberate`, `add_noise`) on one core.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import soxr

SAMPLE_RATE = 16000
STEP = 320  # samples between the windows of `stretch`
REACH = 160  # how far a window may move; together a period of 50 Hz


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times as fast, pitch and formants higher by as much: another length, another speaker."""
    if not len(samples):
        return samples
    return soxr.resample(samples, round(factor * SAMPLE_RATE), SAMPLE_RATE, quality="LQ").astype(np.float32, copy=False)


def stretch(samples: np.ndarray, factor: float) -> np.ndarray:
    """`factor` times as fast at the same pitch, by WSOLA (Verhelst and Roelands, 1993).

    Windows that overlap by half are laid at an even distance; each comes from near its place in the sound, from where
    it continues best what lies before it.
    """
    length = round(len(samples) / factor)
    count = -(-length // STEP) + 1
    padded = np.pad(samples, (STEP + REACH, 2 * STEP + 2 * REACH + round(STEP * factor)))
    window = np.hanning(2 * STEP + 1)[:-1].astype(np.float32)
    result = np.zeros((count + 1) * STEP, np.float32)
    place = REACH
    for index in range(count):
        if index:
            follows = padded[place + STEP : place + 2 * STEP]
            around = round(index * STEP * factor)  # REACH before the place that time alone would choose
            alike = np.correlate(padded[around : around + STEP + 2 * REACH], follows, "valid")
            place = around + int(alike.argmax())
        result[index * STEP : (index + 2) * STEP] += window * padded[place : place + 2 * STEP]
    return result[STEP : STEP + length]


def shift_pitch(samples: np.ndarray, semitones: float) -> np.ndarray:
    """Higher by so many semitones, formants too, at the same length."""
    factor = 2.0 ** (semitones / 12)
    shifted = change_speed(stretch(samples, 1 / factor), factor)
    return np.pad(shifted, (0, max(0, len(samples) - len(shifted))))[: len(samples)]


def reverberate(samples: np.ndarray, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """In a room whose echo falls by 60 dB in `seconds`: the sound itself, and exponentially decaying noise after it.

    The echoes carry between a tenth and all of the power of the direct sound.
    """
    length = max(2, round(seconds * SAMPLE_RATE))
    echo = rng.standard_normal(length) * 10.0 ** (-3 * np.arange(length) / length)
    echo[: round(0.002 * SAMPLE_RATE)] = 0  # nothing returns from a wall within 2 ms
    echo *= math.sqrt(rng.uniform(0.1, 1.0) / max(float(np.square(echo).sum()), 1e-12))
    echo[0] = 1.0
    size = 1 << (len(samples) + length - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(echo, size)
    return _at_level_of(samples, np.fft.irfft(spectrum, size)[: len(samples)])


def add_noise(samples: np.ndarray, rng: np.random.Generator, snr_db: float) -> np.ndarray:
    """With noise between white and brown, `snr_db` below the sound."""
    size = 1 << max(1, len(samples) - 1).bit_length()
    tilt = rng.uniform(0.0, 1.0)
    spectrum = rng.standard_normal(size // 2 + 1) + 1j * rng.standard_normal(size // 2 + 1)
    noise = np.fft.irfft(spectrum * (1.0 + np.arange(size // 2 + 1)) ** -tilt, size)[: len(samples)]
    level = _level(samples) / max(_level(noise), 1e-12) * 10.0 ** (-snr_db / 20)
    return (samples + level * noise).astype(np.float32)


def change_gain(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Louder by so many decibels; nothing is clipped."""
    return samples * np.float32(10.0 ** (decibels / 20))


def _at_level_of(reference: np.ndarray, samples: np.ndarray) -> np.ndarray:
    return (samples * (_level(reference) / max(_level(samples), 1e-12))).astype(np.float32)


def _level(samples: np.ndarray) -> float:
    return math.sqrt(float(np.square(samples, dtype=np.float64).mean())) if len(samples) else 0.0


AUGMENTATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "time_stretch": lambda samples, rng: stretch(samples, float(rng.uniform(0.8, 1.2))),
    "pitch_shift": lambda samples, rng: shift_pitch(samples, float(rng.uniform(-4, 4))),
    "reverberation": lambda samples, rng: reverberate(samples, rng, float(rng.uniform(0.1, 0.8))),
    "noise": lambda samples, rng: add_noise(samples, rng, float(rng.uniform(5, 15))),
}
"""The four of Gat et al. 2023, section 3, with their ranges; rooms and noises, recorded ones there, are drawn here."""
