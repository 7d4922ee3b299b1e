"""Small random vocoders in the official checkpoint layout, written on the spot; sounds and encoders to train on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stlm.interfaces import SpeechUnitEncoder
from stlm.types import AlignedUnits, Audio, StreamSpec, Units, Utterance
from stlm_hifigan.generator import Generator, GeneratorOptions
from stlm_hifigan.recipe import Config

WIDTH = 6
NUM_UNITS = 20
BASE = {"dict": (NUM_UNITS, WIDTH), "spkr": (4, WIDTH), "style": (12, WIDTH)}
EXPRESSIVE = {"dict": (NUM_UNITS, WIDTH), "f0_dict": (9, WIDTH), "style_dict": (100, WIDTH), "spkr": (4, WIDTH)}
HOP = 40


def settings(tables: dict[str, tuple[int, int]], **changes: Any) -> dict[str, Any]:
    """What ``config.json`` holds; three stages of the five, each of another kind."""
    found = {
        "resblock": "1",
        "upsample_rates": [5, 4, 2],
        "upsample_kernel_sizes": [11, 8, 4],
        "upsample_initial_channel": 16,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        "num_embeddings": NUM_UNITS,
        "embedding_dim": WIDTH,
        "model_in_dim": WIDTH * len(tables),
        "sampling_rate": 16000,
        "code_hop_size": HOP,
        "multispkr": "from_input_file",
        "dur_predictor_params": {"encoder_embed_dim": WIDTH, "var_pred_hidden_dim": 5, "var_pred_kernel_size": 3},
    }
    if "style" in tables:
        found["multistyle"] = "from_input_file"
    if "f0_dict" in tables:
        found.update(num_f0_tokens=tables["f0_dict"][0], num_style_tokens=tables["style_dict"][0])
    return {**found, **changes}


def options(tables: dict[str, tuple[int, int]], with_durations: bool = True) -> GeneratorOptions:
    return GeneratorOptions(
        tables=tables,
        upsample_rates=(5, 4, 2),
        upsample_kernels=(11, 8, 4),
        initial_channels=16,
        resblock_kernels=(3, 7, 11),
        resblock_dilations=((1, 3, 5),) * 3,
        duration=(5, 3) if with_durations else None,
    )


def random_generator(tables: dict[str, tuple[int, int]], seed: int = 0, with_durations: bool = True) -> Generator:
    """Weights large enough that every part is heard."""
    generator = Generator(options(tables, with_durations)).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(seed)
    for name, value in generator.named_parameters():
        fan = value[0].numel() if value.dim() > 1 else 25
        scale = 1.0 if name.split(".")[0] in tables else 1.2 / fan**0.5
        value.copy_(torch.randn(value.shape, generator=random) * scale)
    if with_durations:
        predictor = generator.dur_predictor
        for norm in (predictor.ln1, predictor.ln2):
            norm.weight.add_(1)
        predictor.proj.weight.mul_(2)
        predictor.proj.bias.fill_(1.2)
    return generator


def weight_normed(state: dict[str, torch.Tensor], form: str) -> dict[str, torch.Tensor]:
    """Convolutions of the generator as magnitude and direction: ``old`` or ``new`` names."""
    ends = {
        "old": (".weight_g", ".weight_v"),
        "new": (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    }
    found = {}
    for name, value in state.items():
        if value.dim() == 3 and not name.startswith("dur_predictor"):
            stem = name.removesuffix(".weight")
            norm = value.flatten(1).norm(dim=1).view(-1, 1, 1)
            found[stem + ends[form][0]] = norm
            found[stem + ends[form][1]] = value * 3  # any length of the direction means the same
        else:
            found[name] = value
    return found


def write(
    directory: Path, tables: dict[str, tuple[int, int]], *, form: str = "old", durations: bool = True, **changes: Any
) -> Path:
    """A checkpoint; `changes` as for `settings`."""
    directory.mkdir(parents=True, exist_ok=True)
    state = weight_normed(random_generator(tables, with_durations=durations).state_dict(), form)
    torch.save({"generator": state}, directory / "generator.pt")
    if not durations:
        changes = {"dur_predictor_params": None, **changes}
    (directory / "config.json").write_text(json.dumps(settings(tables, **changes)))
    return directory


@pytest.fixture(scope="session")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write(tmp_path_factory.mktemp("base"), BASE)
    (path / "speakers.txt").write_text("anna\nben\ncleo\ndan\n")
    (path / "styles.txt").write_text("".join(f"style-{index}\n" for index in range(12)))
    return path


@pytest.fixture(scope="session")
def expressive_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("expressive"), EXPRESSIVE)


@pytest.fixture
def make_units() -> Callable[..., AlignedUnits]:
    """Streams of random codes, ``hubert`` and those asked for."""

    def make(length: int, *, durations: Any = None, seed: int = 0, **sizes: int) -> AlignedUnits:
        rng = np.random.default_rng(seed)
        all_sizes = {"hubert": NUM_UNITS, **sizes}
        streams = {name: rng.integers(0, size, (length, 1)).astype(np.uint16) for name, size in all_sizes.items()}
        return AlignedUnits(streams=streams, durations=None if durations is None else np.asarray(durations, np.int32))

    return make


class Loudness(SpeechUnitEncoder):
    """Loudness in steps of 6 dB: a stream of any name and hop."""

    def __init__(self, name: str = "loudness", hop: int = 320, levels: int = 10, codebooks: int = 1) -> None:
        self._spec = StreamSpec(
            name=name,
            codebook_sizes=(levels,) * codebooks,
            sample_rate=16000,
            hop=hop,
            window=hop,
            fingerprint=f"{name} {hop} {levels}",
        )

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return [Units(spec=self._spec, codes=self._codes(audio.samples)) for audio in batch]

    def save(self, directory: Path) -> None:
        (directory / "loudness.json").write_text(self._spec.fingerprint)

    def _codes(self, samples: np.ndarray) -> np.ndarray:
        hop, (levels, *more) = self._spec.hop, self._spec.codebook_sizes
        power = np.square(samples[: len(samples) // hop * hop].reshape(-1, hop)).mean(axis=1)
        steps = np.clip(-10 * np.log10(power + 1e-9) / 6, 0, levels - 1).astype(np.uint16)
        return np.repeat(steps[:, None], 1 + len(more), axis=1)


def melody(index: int, seconds: float = 1.0, **more: Any) -> Utterance:
    """A tone that swells and falls, and a little noise."""
    time = np.arange(round(seconds * 16000)) / 16000
    swell = 0.02 + 0.4 * np.square(np.sin(np.pi * (2 + index) * time))
    noise = np.random.default_rng(index).normal(0, 0.003, len(time))
    samples = swell * np.sin(2 * np.pi * (200 + 70 * index) * time) + noise
    audio = Audio(samples=samples.astype(np.float32), sample_rate=16000)
    return Utterance(id=f"melody-{index}", audio=audio, **{"speaker": f"singer {index % 2}", **more})


def tiny(**changes: Any) -> Config:
    """A training of a few steps, of all parts."""
    chosen = {
        "max_steps": 4,
        "learning_rate": 2e-3,
        "precision": "32-true",
        "accelerator": "cpu",
        "checkpoint_every": 2,
        "report_every": 1,
        "sample_every": 0,
        "num_samples": 0,
        "held_out": 0.2,
        "batch_size": 3,
        "segment_frames": 10,
        "embedding_dim": 6,
        "upsample_rates": (8, 8, 5),
        "upsample_kernels": (16, 16, 11),
        "initial_channels": 32,
        "resblock_kernels": (3,),
        "resblock_dilations": (1, 3),
        "duration_width": 5,
        "periods": (2, 3),
        "period_channels": (4, 8),
        "scales": 2,
        "scale_channels": (4, 8),
        "scale_strides": (2, 4),
        "scale_groups": (1, 2),
        "scale_kernel": 9,
        "stft_weight": 10.0,
        "stft_windows": (256, 512),
    }
    return Config(**{**chosen, **changes})
