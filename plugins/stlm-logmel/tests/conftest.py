"""A small codebook, fitted once on synthetic vowels and hisses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stlm.types import Audio, Utterance
from stlm_logmel.recipe import Config, LogMelKMeansRecipe

RATE = 16000
VOWELS = [(700, 1200), (300, 2300), (350, 800), (500, 1800)]


def speechlike(seed: int, seconds: float = 3.0) -> Audio:
    """Harmonics under two formants, hisses and pauses, a new sound about every 100 ms."""
    rng = np.random.default_rng(seed)
    parts = [_sound(rng, int(RATE * rng.uniform(0.06, 0.16))) for _ in range(int(seconds / 0.06))]
    samples = np.concatenate(parts)[: int(RATE * seconds)]
    return Audio(samples=samples.astype(np.float32), sample_rate=RATE)


def _sound(rng: np.random.Generator, length: int) -> np.ndarray:
    kind = rng.integers(6)
    if kind == 5:
        return rng.normal(0, 1e-4, length)
    if kind == 4:
        return np.diff(rng.normal(0, 0.01, length + 1))
    return vowel(int(kind), rng.uniform(90, 220), length)


def vowel(kind: int, pitch: float, length: int) -> np.ndarray:
    time = np.arange(length) / RATE
    tones = pitch * np.arange(1, int(4000 / pitch))
    weight = sum(np.exp(-(((tones - formant) / 150) ** 2)) for formant in VOWELS[kind])
    return 0.02 * (weight[:, None] * np.sin(2 * np.pi * tones[:, None] * time)).sum(0)


@pytest.fixture(scope="session")
def vowels() -> Audio:
    """Two vowels in turn, half a second each, and the same again at another pitch."""
    parts = [vowel(kind, pitch, RATE // 2) for pitch in (110, 180) for kind in (0, 1)]
    return Audio(samples=np.concatenate(parts).astype(np.float32), sample_rate=RATE)


@pytest.fixture(scope="session")
def recordings() -> list[Utterance]:
    return [Utterance(id=str(seed), audio=speechlike(seed)) for seed in range(12)]


@pytest.fixture(scope="session")
def codebook_path(tmp_path_factory: pytest.TempPathFactory, recordings: list[Utterance]) -> Path:
    out = tmp_path_factory.mktemp("codebook")
    LogMelKMeansRecipe(Config(num_units=32)).train(recordings, out)
    return out
