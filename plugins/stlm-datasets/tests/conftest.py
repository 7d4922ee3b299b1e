"""Recordings in memory and on disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 8000


@pytest.fixture
def sides() -> np.ndarray:
    """One second in two channels."""
    return np.random.default_rng(0).normal(0, 0.1, (RATE, 2)).astype(np.float32)


@pytest.fixture
def recording(tmp_path: Path, sides: np.ndarray) -> Path:
    """The file ``stereo.wav``, to the bit."""
    soundfile.write(tmp_path / "stereo.wav", sides, RATE, subtype="FLOAT")
    return tmp_path / "stereo.wav"


@pytest.fixture
def flac(sides: np.ndarray) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, sides[:, 0], RATE, format="FLAC")
    return content.getvalue()
