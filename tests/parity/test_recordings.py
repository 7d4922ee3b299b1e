"""`stlm encode` on real recordings with a full-size checkpoint: every format, rate and length, in bounded memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stlm.audio import read_audio, resample
from stlm.types import Audio, StreamSpec

MOST_MEMORY = 3e9
"""Bytes for a file of 20 minutes."""

MINUTES = 20
STREAMS = {"hubert": (640, 720), "pitch": (1280, 1200), "style": (16000, 400)}
"""Hop and window in samples at 16 kHz."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def full(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint("full")


@pytest.fixture(scope="module")
def speech(kit: Path) -> Audio:
    """A minute of real speech at 16 kHz, several recordings one after the other."""
    folder = kit.parents[1] / "data" / "real" / "read"
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    samples = np.concatenate([read_audio(folder / row["audio"], 16000).samples for row in rows[:12]])
    return Audio(samples=samples[: 60 * 16000], sample_rate=16000)


def num_frames(num_samples: int) -> dict[str, int]:
    """What the official encoders make of so many samples at 16 kHz."""
    return {
        name: StreamSpec(
            name=name,
            codebook_sizes=(1,),
            sample_rate=16000,
            hop=hop,
            window=window,
            fingerprint="",
            chunk=1_600_000,
            shortest=1280,
        ).num_frames(num_samples)
        for name, (hop, window) in STREAMS.items()
    }


def encode(files: list[Path], checkpoint: Path, *more: str) -> dict[str, dict[str, list[int]]]:
    """``stlm encode --as json`` as a user calls it: codes by stream of each file."""
    program = Path(sys.executable).with_name("stlm")
    command = [str(program), "encode", *map(str, files), "--system", "spiritlm-expressive"]
    command += ["--checkpoint", str(checkpoint), "--as", "json", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["audio"]: {name: found["codes"] for name, found in row["streams"].items()} for row in rows}


def test_every_format_rate_and_length_is_encoded(full: Path, speech: Audio, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    made = {}
    for suffix, rate, seconds, channels in [
        ("wav", 8000, 3.0, 1),
        ("wav", 48000, 0.05, 2),
        ("flac", 44100, 5.0, 2),
        ("mp3", 24000, 4.0, 1),
        ("ogg", 22050, 2.0, 2),
        ("wav", 16000, 0.079, 1),
        ("flac", 16000, 0.08, 1),
    ]:
        start = int(rng.integers(0, 30 * 16000))
        cut = Audio(samples=speech.samples[start : start + int(seconds * 16000)], sample_rate=16000)
        samples = resample(cut, rate).samples
        path = tmp_path / f"{suffix}-{rate}-{channels}-{seconds}.{suffix}"
        write(path, np.stack([samples] * channels, axis=1), rate)
        made[path] = seconds
    silence = tmp_path / "silence.wav"
    write(silence, np.zeros((32000, 1), np.float32), 16000)
    made[silence] = 2.0
    found = encode(list(made), full)
    for path in made:
        exact = num_frames(resample(read_audio(path), 16000).num_samples)
        assert {name: len(codes) for name, codes in found[str(path)].items()} == exact, path.name
    assert num_frames(1279)["hubert"] == 0 and num_frames(1280) == {"hubert": 1, "pitch": 1, "style": 1}


def write(path: Path, samples: np.ndarray, rate: int) -> None:
    """In blocks: libsndfile fails on long Vorbis files written at once."""
    import soundfile

    with soundfile.SoundFile(path, "w", samplerate=rate, channels=samples.shape[1]) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])


def test_twenty_minutes_stay_under_three_gigabytes(full: Path, speech: Audio, tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    samples = np.tile(resample(speech, 48000).samples, MINUTES)
    write(path, np.stack([samples, samples], axis=1), 48000)
    found = encode([path], full)[str(path)]
    exact = num_frames(resample(read_audio(path), 16000).num_samples)
    assert {name: len(codes) for name, codes in found.items()} == exact
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < MOST_MEMORY, f"{peak / 1e9:.2f} GB"
