"""Kills preparations at random moments of their work, as a power cut would: for tests that nothing is lost by it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stlm.audio import write_audio
from stlm.types import Audio

PATIENCE = 600.0
"""Seconds after which a preparation that neither works nor ends is a failure."""


def corpus_to_prepare(root: Path) -> list[str]:
    """120 recordings of noise with texts, one that is broken, and log-mel units; overrides that prepare them.

    Args:
        root: an empty directory.
    """
    rng, corpus = np.random.default_rng(0), root / "corpus"
    corpus.mkdir()
    for index in range(120):
        samples = rng.normal(0, 0.1, 4800 + 160 * index).astype(np.float32)
        write_audio(corpus / f"{index:03d}.wav", Audio(samples=samples, sample_rate=16000))
        (corpus / f"{index:03d}.txt").write_text(f"number {index}")
    source = ["source=folder", f"source.path={corpus}"]
    _finish(["train", "recipe=logmel_kmeans", "recipe.num_units=20", *source, f"out={root / 'units'}"])
    (corpus / "broken.wav").write_bytes(b"RIFF")
    return [*source, f"unit_encoders=[{{name: logmel, path: '{root / 'units'}'}}]", "num_shards=8", "group_size=4"]


def check_that_kills_lose_nothing(overrides: Sequence[str], root: Path, *, kills: int, seed: int = 0) -> None:
    """Prepare undisturbed; then `kills` times anew, killed at a random moment and run again to the end.

    Args:
        overrides: of ``stlm prepare``, without ``out``.
        root: an empty directory.
        kills: how often.
        seed: of the moments.

    Raises:
        AssertionError: a file differs, is missing or left over, or fewer than half of the kills met work.
    """
    calm = root / "calm"
    _finish(["prepare", *overrides, f"out={calm}"])
    wanted, rng = shards_of(calm), random.Random(seed)
    at_work = []
    for kill in range(kills):
        out = root / f"killed-{kill}"
        changes = rng.randrange(2 * len(wanted))
        at_work.append(_kill_after(["prepare", *overrides, f"out={out}"], out, changes, rng.uniform(0, 0.02)))
        _finish(["prepare", *overrides, f"out={out}"])
        assert listing(out) == listing(calm), f"kill {kill}, after {changes} changes of the directory"
        assert shards_of(out) == wanted, f"kill {kill}, after {changes} changes of the directory"
    assert sum(at_work) >= kills / 2, "the moments came too late"


def _started(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """``stlm`` with these arguments, in a process group of its own."""
    program = "import sys; from stlm.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def _finish(arguments: Sequence[str]) -> None:
    process = _started(arguments)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors.decode()[-2000:]


def _kill_after(arguments: Sequence[str], out: Path, changes: int, seconds: float) -> bool:
    """Send SIGKILL to all its processes, `seconds` after the output directory has changed so many times; whether it was
    still at work."""
    process = _started(arguments)
    seen, deadline = listing(out), time.monotonic() + PATIENCE
    while changes and process.poll() is None and time.monotonic() < deadline:
        if (now := listing(out)) != seen:
            seen, changes = now, changes - 1
        time.sleep(0.0005)
    time.sleep(seconds)
    was_at_work = process.poll() is None
    if was_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return was_at_work


def listing(directory: Path) -> list[str]:
    """Names of its files, half-written ones too."""
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def shards_of(directory: Path) -> dict[str, bytes]:
    """Content of every file but the record of the run, which holds nothing of the corpus."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "run.json"}
