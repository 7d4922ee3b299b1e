"""Recordings on disk and a registry with fakes in place of trained encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stlm.audio import write_audio
from stlm.plugin import registry as plugin_registry
from stlm.testing.plugin import fake_registry
from stlm.types import Audio

RATE = 16000


@pytest.fixture
def record():
    """``record(path, seconds)`` writes noise."""

    def run(path: Path, seconds: float = 0.5, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(seed).normal(0, 0.1, int(RATE * seconds)).astype(np.float32)
        write_audio(path, Audio(samples=samples, sample_rate=RATE))
        return path

    return run


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks of this process find the fakes by name."""
    registry = fake_registry()
    monkeypatch.setattr(plugin_registry, "default_registry", lambda: registry)
