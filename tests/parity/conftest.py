"""The parity kit: generated checkpoints in the official layout and the reference's outputs for them, read in place.

``STLM_SHARED`` names the folder that holds ``spiritlm/kit`` (default: ``shared`` beside the repository, or further up).
Without it these tests are skipped, or fail where ``STLM_REQUIRE_SHARED`` is set, as in CI and in `make test-all`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stlm_spiritlm.kit_adapter import load
from stlm_spiritlm.legacy import LegacyTokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kit() -> Path:
    beside = next((above / "shared" for above in ROOT.parents if (above / "shared").is_dir()), ROOT.parent / "shared")
    found = Path(os.environ.get("STLM_SHARED", beside)) / "spiritlm" / "kit"
    if not found.is_dir():
        reason = f"no parity kit at {found}: set STLM_SHARED to the folder that holds spiritlm/kit"
        if os.environ.get("STLM_REQUIRE_SHARED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def goldens(kit: Path) -> Path:
    return kit / "goldens_A"


@pytest.fixture(scope="session")
def make_checkpoint(kit: Path, goldens: Path, tmp_path_factory: pytest.TempPathFactory):
    """``make_checkpoint(size)`` writes the kit's checkpoint with the goldens' seed."""

    def run(size: str, *more: str) -> Path:
        out = tmp_path_factory.mktemp(f"checkpoint_{size}")
        seed = (goldens / "SEED").read_text().strip()
        command = [sys.executable, str(kit / "make_checkpoint.py"), "--out", str(out), "--seed", seed, "--size", size]
        subprocess.run([*command, *more], check=True, capture_output=True)
        return out

    return run


@pytest.fixture(scope="session")
def checkpoint(make_checkpoint) -> Path:
    """The tiny one, language models included."""
    return make_checkpoint("tiny")


@pytest.fixture(scope="session")
def tokenizers(checkpoint: Path) -> dict[str, LegacyTokenizer]:
    base, expressive = load(checkpoint)
    return {"base": base, "expr": expressive}


@pytest.fixture(scope="session")
def expected(goldens: Path) -> dict[str, Any]:
    """What the reference gives on the tiny checkpoint."""
    return json.loads((goldens / "tiny.json").read_text())


@pytest.fixture(scope="session")
def wav(goldens: Path):
    """``wav(name)``: samples ``float32[N]`` of one of the kit's recordings, 16 kHz."""

    def run(name: str) -> np.ndarray:
        return soundfile.read(goldens / "wavs" / f"{name}.flac", dtype="float32")[0]

    return run
