"""A recogniser that has learnt four words of hums and hisses in a few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stlm.learn.threads import one_thread
from stlm.types import Audio, Utterance, Word
from stlm_ctc.recipe import Config, CtcRecipe
from stlm_ctc.recogniser import Recogniser, load_recogniser

RATE = 16000
LETTERS = {"a": 700, "b": 1400, "c": 2800, "d": 5600}
"""Each letter is a tone of 120 ms; a space is 100 ms of near silence."""

TINY = {
    "num_mels": 20,
    "width": 48,
    "layers": 2,
    "kernel": 5,
    "dropout": 0.0,
    "batch_seconds": 10.0,
    "max_steps": 150,
    "warmup_steps": 10,
    "learning_rate": 0.01,
    "tempo": 0.1,
    "vocal_tract": 0.05,
    "formants": 0.02,
    "time_masks": 0,
    "band_masks": 0,
    "join": 0.2,
    "precision": "32-true",
    "accelerator": "cpu",
}


def sing_text(text: str, seed: int = 0, id: str = "song") -> Utterance:
    """The letters of a text as tones, with exact word times; other characters are silent."""
    rng = np.random.default_rng(seed)
    parts, words, clock = [rng.normal(0, 1e-4, RATE // 10)], [], RATE // 10
    for place, letter in enumerate(text):
        length = int(RATE * (0.12 if letter.lower() in LETTERS else 0.1))
        time = np.arange(length) / RATE
        tone = 0.2 * np.sin(2 * np.pi * LETTERS.get(letter.lower(), 0) * time) * np.hanning(length) ** 0.3
        parts.append(tone + rng.normal(0, 1e-4, length))
        if letter.isalnum():
            if place and text[place - 1].isalnum():
                before = words.pop()
                words.append((before[0], clock + length, before[2], place + 1))
            else:
                words.append((clock, clock + length, place, place + 1))
        clock += length
    parts.append(rng.normal(0, 1e-4, RATE // 10))
    samples = np.concatenate(parts).astype(np.float32)
    return Utterance(
        id=id,
        audio=Audio(samples=samples, sample_rate=RATE),
        text=text,
        words=tuple(Word(text=text[c:d], start=a, end=b, char_start=c, char_end=d) for a, b, c, d in words),
    )


def make_songs(num: int, seed: int = 0) -> list[Utterance]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(num):
        lengths = rng.integers(1, 4, int(rng.integers(1, 4)))
        text = " ".join("".join(rng.choice(list(LETTERS), length)) for length in lengths)
        made.append(sing_text(text, seed=index, id=f"song-{seed}-{index}"))
    return made


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """Steps this small are over before a second thread has woken up."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def sing() -> Callable[..., Utterance]:
    """Makes an utterance of a text."""
    return sing_text


@pytest.fixture(scope="session")
def songs() -> Callable[..., list[Utterance]]:
    """Makes a corpus of a number of utterances."""
    return make_songs


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Options of a recipe that learns to read the songs in seconds."""
    return dict(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ctc")
    CtcRecipe(Config(**TINY)).train(make_songs(150), out)
    return out


@pytest.fixture(scope="session")
def recogniser(trained: Path) -> Recogniser:
    return load_recogniser(trained)
