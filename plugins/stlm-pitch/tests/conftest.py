"""Small random VQ-VAEs in the official checkpoint layout, written on the spot, and sounds with a voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from stlm.interfaces import F0Extractor
from stlm.types import Audio
from stlm_pitch.fcpe import FcpeExtractor
from stlm_pitch.vqvae import StackOptions, Vqvae, VqvaeOptions

RATE = 16000
STACK = {
    "input_emb_width": 2,
    "output_emb_width": 6,
    "levels": 1,
    "downs_t": [4],
    "strides_t": [2],
    "width": 5,
    "depth": 2,
    "m_conv": 1.0,
    "dilation_growth_rate": 3,
}


def settings(**changes: Any) -> dict[str, Any]:
    """What ``config.yaml`` holds; `changes` by key, or by ``section__key``."""
    found: dict[str, Any] = {
        "features": "norm_f0_interp,vuv",
        "speaker_norm": False,
        "speaker_stats": None,
        "sampling_rate": RATE,
        "vq_params": {"l_bins": 16, "emb_width": 6, "mu": 0.99, "levels": 1},
        "encoder_params": dict(STACK),
        "decoder_params": dict(STACK),
    }
    for key, value in changes.items():
        section, _, inner = key.partition("__")
        if inner:
            found[section][inner] = value
        else:
            found[section] = value
    return found


def random_vqvae(seed: int = 0) -> Vqvae:
    """Weights large enough, and F0 in Hz scaled down enough, that units vary."""
    stack = StackOptions(
        input_width=2, output_width=6, downs=4, stride=2, width=5, depth=2, m_conv=1.0, dilation_growth_rate=3
    )
    vqvae = Vqvae(VqvaeOptions(encoder=stack, decoder=stack, num_units=16, emb_width=6))
    vqvae.eval().requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    for value in vqvae.state_dict().values():
        fan = value[0].numel() if value.dim() > 1 else 25
        value.copy_(torch.randn(value.shape, generator=random) * 1.2 / fan**0.5)
    vqvae.encoder.level_blocks[0].model[0][0].weight[:, 0] *= 0.1
    return vqvae


def write(directory: Path, **changes: Any) -> Path:
    """A checkpoint; `changes` as for `settings`."""
    directory.mkdir(parents=True, exist_ok=True)
    torch.save({"model": random_vqvae().state_dict()}, directory / "model.pt")
    (directory / "config.yaml").write_text(yaml.safe_dump(settings(**changes)))
    return directory


def spoken(seconds: float, seed: int = 0, rate: int = RATE) -> Audio:
    """A buzz that glides, falls silent and comes back, over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    hertz = 140 + 60 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    buzz = sum(np.sin(harmonic * phase) / harmonic for harmonic in range(1, 8))
    loud = np.sin(2 * np.pi * 1.3 * time + 1) > -0.4
    samples = 0.1 * loud * buzz + rng.normal(0, 1e-3, len(time))
    return Audio(samples=samples.astype(np.float32), sample_rate=rate)


class Levels(F0Extractor):
    """A cheap extractor for long sounds: F0 is a function of the mean level of 20 ms, and quiet is unvoiced."""

    @property
    def hop(self) -> int:
        return 320

    def extract(self, audio: Audio) -> tuple[np.ndarray, np.ndarray]:
        padded = np.pad(np.abs(audio.samples), (0, self.hop))
        level = padded[: len(padded) // self.hop * self.hop].reshape(-1, self.hop).mean(1)
        f0 = np.where(level > 1e-3, 80 + 2000 * level, 0).astype(np.float32)
        return f0, f0 > 0


@pytest.fixture(scope="session")
def vqvae_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("vqvae"))


@pytest.fixture(scope="session")
def fcpe() -> FcpeExtractor:
    return FcpeExtractor()
