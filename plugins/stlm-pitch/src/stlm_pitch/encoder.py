"""`PitchVqvaeEncoder`: audio to pitch units, 12.5 a second with the official checkpoint.

Audio is cut into pieces of 100 s; each piece goes through an F0 extractor, the contour of `stlm_pitch.contour` and the
VQ-VAE. The extractor takes nearly all the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlm.audio import resample
from stlm.errors import ConfigError, DataError
from stlm.interfaces import F0Extractor, SpeechUnitEncoder
from stlm.learn.fingerprint import fingerprint
from stlm.learn.threads import one_thread
from stlm.plugin import default_registry, make_config
from stlm.types import Audio, StreamSpec, Units, as_codes
from stlm_pitch.checkpoint import SAMPLE_RATE, Checkpoint, load_checkpoint
from stlm_pitch.contour import HOP, contour

CHUNK = 1_600_000
"""Samples of the longest piece, 100 s (official tokenizer)."""
SHORTEST = 1280
"""Pieces of fewer samples give no unit (official tokenizer)."""
STREAM = "pitch"
F0 = "fcpe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``pitch_vqvae``; what is left empty is as saved, or as the official encoder has it.

    Args:
        path: directory in the official checkpoint layout (``config.yaml``, ``model.pt``), or one that ``save`` wrote.
        f0: component of kind ``f0_extractor``; officially ``fcpe``.
        f0_options: its options.
        stream: name of the stream; officially ``pitch``.
        chunk: samples at 16 kHz of the longest piece that is encoded as one; officially 1,600,000 (100 s).
        device: where to compute.
    """

    path: str = ""
    f0: str = ""
    f0_options: dict[str, Any] = field(default_factory=dict)
    stream: str = ""
    chunk: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.chunk and self.chunk < SHORTEST:
            raise ConfigError(f"pitch_vqvae: chunk is {self.chunk} samples, expected {SHORTEST} or more")


def build(config: Config) -> PitchVqvaeEncoder:
    """Load the VQ-VAE and build its F0 extractor.

    Raises:
        ConfigError: no path or wrong options. PluginError: no such F0 extractor. DataError, FormatError: bad files.
    """
    checkpoint = load_checkpoint(config.path)
    saved = checkpoint.extras
    name = config.f0 or saved.get("f0") or F0
    options = config.f0_options or (saved.get("f0_options") if name == saved.get("f0") else None) or {}
    return PitchVqvaeEncoder(
        checkpoint,
        F0Choice.of(str(name), options, config.device),
        stream=config.stream or str(saved.get("stream") or STREAM),
        chunk=config.chunk or int(saved.get("chunk") or CHUNK),
        device=config.device,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class F0Choice:
    """An F0 extractor and what identifies it: the name of its component and the options that decide its output."""

    extractor: F0Extractor
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any], device: str) -> F0Choice:
        """The installed component of this name, on the device if it has a choice."""
        registry = default_registry()
        kind = registry.config_type("f0_extractor", name)
        placed = {"device": device} if "device" in {entry.name for entry in fields(kind)} else {}
        made = {**placed, **options}
        config = make_config(kind, made, where=f"f0_extractor {name!r}")
        decisive = (
            {key: value for key, value in asdict(config).items() if key != "device"} if is_dataclass(config) else {}
        )
        return cls(extractor=registry.build("f0_extractor", name, made), name=name, options=decisive)


class PitchVqvaeEncoder(SpeechUnitEncoder):
    """Nearest codebook entries of encoded F0 contours.

    Args:
        checkpoint: the VQ-VAE.
        f0: an F0 extractor, or one with the name and options that ``save`` writes.
        stream: name of the stream.
        chunk: samples of the longest piece.
        device: where the VQ-VAE computes.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        f0: F0Extractor | F0Choice,
        *,
        stream: str = STREAM,
        chunk: int = CHUNK,
        device: str = "cpu",
    ) -> None:
        self._checkpoint = checkpoint
        self._f0 = f0 if isinstance(f0, F0Choice) else F0Choice(extractor=f0, name=type(f0).__name__)
        self._device = torch.device(device)
        self._vqvae = checkpoint.vqvae.to(self._device)
        self._spec = self._make_spec(stream, chunk)

    @property
    def spec(self) -> StreamSpec:
        return self._spec

    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        return [Units(spec=self._spec, codes=as_codes(self._codes(audio))) for audio in batch]

    def save(self, directory: Path) -> None:
        extras = {"stream": self._spec.name, "f0": self._f0.name, "f0_options": dict(self._f0.options)}
        extras["chunk"] = self._spec.chunk
        self._checkpoint.save(directory, extras)

    def contour(self, audio: Audio) -> torch.Tensor:
        """What the VQ-VAE sees of one piece at 16 kHz: ``float32[2, num_samples // 80 + 1]``."""
        f0, voiced = self._f0.extractor.extract(audio)
        return contour(f0, voiced, audio.num_samples, self._checkpoint.contour)

    @torch.inference_mode()
    def latents(self, audio: Audio) -> torch.Tensor:
        """Encoder output for one piece at 16 kHz: ``float32[1, E, T]`` on the encoder's device."""
        seen = self.contour(audio).to(self._device)
        with one_thread():
            return self._vqvae.encode(seen[None])

    def _codes(self, audio: Audio) -> np.ndarray:
        """``int64[T]`` of the whole audio."""
        samples = resample(audio, SAMPLE_RATE).samples
        if not np.isfinite(samples).all():
            raise DataError("audio holds NaN or infinite samples, expected finite ones: check what made it")
        starts = range(0, len(samples), self._spec.chunk)
        parts = [self._codes_of_piece(samples[start : start + self._spec.chunk]) for start in starts]
        return np.concatenate([*parts, np.zeros(0, np.int64)])

    @torch.inference_mode()
    def _codes_of_piece(self, samples: np.ndarray) -> np.ndarray:
        if not self._spec.num_frames(len(samples)):
            return np.zeros(0, np.int64)
        latents = self.latents(Audio(samples=samples, sample_rate=SAMPLE_RATE))
        with one_thread():
            return self._vqvae.quantize(latents)[0].cpu().numpy()

    def _make_spec(self, stream: str, chunk: int) -> StreamSpec:
        options = self._vqvae.options
        ratio = options.encoder.ratio
        identity = {
            "contour": asdict(self._checkpoint.contour),
            "network": asdict(options),
            "f0": self._f0.name,
            "f0_options": dict(self._f0.options),
            "chunk": chunk,
        }
        arrays = {name: value for name, value in self._vqvae.state_dict().items() if not name.startswith("decoder.")}
        return StreamSpec(
            name=stream,
            codebook_sizes=(options.num_units,),
            sample_rate=SAMPLE_RATE,
            hop=ratio * HOP,
            window=(ratio - 1) * HOP,
            fingerprint=fingerprint(arrays, identity),
            chunk=chunk,
            shortest=SHORTEST,
        )
