"""`HifiganVocoder`: aligned units to speech, with pitch and style where the checkpoint knows them.

Two families share the code. *Base* reads HuBERT units and takes a speaker and a style by name. *Expressive* reads
pitch and style as streams beside the units, and takes a speaker. About ten times real time on one core in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.interfaces import Vocoder
from stlm.learn.weights import entry
from stlm.types import AlignedUnits, Audio
from stlm_hifigan.checkpoint import SETTINGS, Checkpoint, load_checkpoint
from stlm_hifigan.conditioning import UNITS, Conditioning, Defaults
from stlm_hifigan.decoding import Decoder
from stlm_hifigan.excitation import Excitation
from stlm_hifigan.generator import frames_of

FINGERPRINTS = "fingerprints"
"""Where the section ``stlm`` notes the encoders that a vocoder was trained on."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Options of the component ``hifigan``; what is empty or None is as saved, or as the official vocoder has it.

    Args:
        path: directory in the official checkpoint layout (``config.json``, ``generator.pt``), or one ``save`` wrote.
        stream: name of the stream of units; officially ``hubert``.
        pitch_stream, style_stream: names of the streams that an expressive vocoder reads where they are given;
            officially ``pitch`` and ``style``.
        default_voice: row of the speaker table where nobody asks for a voice; officially 2.
        default_style: row of the base vocoder's style table where nobody asks for a style; officially 8.
        fallback_styles: style units of which one is drawn where there is no style stream; officially 71, 68, 98.
        chunk_frames: frames decoded at once; decides memory, and no sample.
        precision: ``fp32`` or ``bf16``, which is nearly twice as fast; its error is about 39 dB below the signal.
        device: where to compute.
    """

    path: str = ""
    stream: str = ""
    pitch_stream: str = ""
    style_stream: str = ""
    default_voice: int | None = None
    default_style: int | None = None
    fallback_styles: tuple[int, ...] = ()
    chunk_frames: int = 500
    precision: str = "fp32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"hifigan: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.chunk_frames < 1:
            raise ConfigError(f"hifigan: chunk_frames must be positive, got {self.chunk_frames}")


def build(config: Config) -> HifiganVocoder:
    """Load the vocoder.

    Raises:
        ConfigError: no path, or a default that the checkpoint does not have. DataError, FormatError: bad files.
    """
    return HifiganVocoder(load_checkpoint(config.path), config)


class HifiganVocoder(Vocoder):
    """A HiFi-GAN with embedding tables for units, speakers, and pitch or style."""

    def __init__(self, checkpoint: Checkpoint, config: Config | None = None) -> None:
        config = config or Config()
        self._checkpoint, self._chunk_frames = checkpoint, config.chunk_frames
        self._generator = checkpoint.generator
        try:
            defaults = Defaults.of(asdict(config), checkpoint.extras)
        except FormatError as error:
            raise FormatError(f"{Path(config.path) / SETTINGS}: stlm: {error}") from error
        self._fingerprints = _fingerprints(checkpoint.extras, Path(config.path) / SETTINGS)
        rows = {name: size for name, (size, _) in self._generator.options.tables.items()}
        self._conditioning = Conditioning(rows, checkpoint.voices, checkpoint.styles, defaults)
        self._decoder = Decoder(self._generator, config.device, PRECISIONS[config.precision])

    @property
    def streams(self) -> tuple[str, ...]:
        return (self._conditioning.defaults.stream,)

    @property
    def optional_streams(self) -> tuple[str, ...]:
        """Streams that it reads where they are given: pitch and style of an expressive vocoder."""
        return tuple(self._conditioning.optional_streams.values())

    @property
    def accepts(self) -> dict[str, str]:
        """What the recipe noted; official checkpoints say nothing of their encoders."""
        return dict(self._fingerprints)

    @property
    def sample_rate(self) -> int:
        return self._checkpoint.sample_rate

    @property
    def voices(self) -> tuple[str, ...]:
        return self._conditioning.voices

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of a base vocoder's styles; style units, as text, of an expressive one."""
        return self._conditioning.styles

    def synthesize(self, units: AlignedUnits, voice: str | int | None = None, style: str | int | None = None) -> Audio:
        """Speech of the units, ``hop`` samples for each frame.

        Without durations the checkpoint's predictor makes them; without a predictor every row is one frame. Where an
        expressive vocoder gets no pitch it takes the mean of its pitch table, and where it gets no style one of
        ``fallback_styles``, drawn by the units; both are logged.

        Args:
            units: streams ``uint16[N, 1]``.
            voice: a name in `voices`, or a row of the speaker table.
            style: a name in `styles`, or a row of the style table; overrides an expressive vocoder's style stream.

        Raises:
            ConfigError: unknown voice or style. DataError: no stream of units, or impossible durations.
            FormatError: a code is out of range.
        """
        rows = self._conditioning.rows(units, voice, style)
        codes = rows[UNITS]
        assert codes is not None
        durations = self.durations(codes) if units.durations is None else _checked(units.durations)
        frames = {table: None if row is None else np.repeat(row, durations) for table, row in rows.items()}
        return Audio(
            samples=self._decode(frames, int(durations.sum()), voice is not None), sample_rate=self.sample_rate
        )

    @torch.inference_mode()
    def durations(self, codes: np.ndarray) -> np.ndarray:
        """Predicted frames ``int64[N]`` of units ``int64[N]``, which the predictor wants without repetitions; ones
        without a predictor."""
        if self._generator.options.duration is None or not len(codes):
            return np.ones(len(codes), np.int64)
        embedded = self._table(UNITS)[torch.from_numpy(codes)]
        return frames_of(self._generator.dur_predictor(embedded[None]))[0].numpy()

    def save(self, directory: Path) -> None:
        noted = {FINGERPRINTS: self._fingerprints} if self._fingerprints else {}
        self._checkpoint.save(directory, {**asdict(self._conditioning.defaults), **noted})

    def _decode(self, frames: Mapping[str, np.ndarray | None], total: int, is_known: bool) -> np.ndarray:
        """Samples ``float32[T * hop]`` of rows by table, ``[T]`` each, of a voice that was asked for or any."""
        hop, step = self._generator.options.hop, self._chunk_frames
        samples = np.zeros(total * hop, np.float32)
        excitation = self._excitation(frames, total, is_known)
        for first in range(0, total, step):
            last = min(total, first + step)
            part = self._decoder.decode(lambda *ends: self._joined(frames, *ends), first, last, total, excitation)
            samples[first * hop : last * hop] = part.cpu().numpy()
        return samples

    @torch.inference_mode()
    def _excitation(self, frames: Mapping[str, np.ndarray | None], total: int, is_known: bool) -> Excitation | None:
        """Where the generator starts from one."""
        if self._generator.options.excitation is None or not total:
            return None
        return self._generator.excitation(self._joined(frames, 0, total)[None], is_known=is_known)

    def _joined(self, frames: Mapping[str, np.ndarray | None], first: int, last: int) -> torch.Tensor:
        """Joined embeddings ``float32[C, last - first]``."""
        parts = []
        for table, rows in frames.items():
            weight = self._table(table)
            if rows is None:
                parts.append(weight.mean(0, keepdim=True).expand(last - first, -1))
            else:
                parts.append(weight[torch.from_numpy(rows[first:last])])
        return torch.cat(parts, dim=1).T

    def _table(self, name: str) -> torch.Tensor:
        return getattr(self._generator, name).weight


def _fingerprints(extras: Mapping[str, Any], file: Path) -> dict[str, str]:
    """Of the streams that it was trained on, by the streams' names."""
    noted = entry({FINGERPRINTS: {}, **extras}, FINGERPRINTS, dict, file)
    return {str(stream): entry(noted, stream, str, file) for stream in noted}


def _checked(durations: np.ndarray) -> np.ndarray:
    if durations.ndim != 1 or not np.issubdtype(durations.dtype, np.integer) or (durations < 0).any():
        raise DataError(
            f"durations must be int32[N] and not negative, got {durations.dtype}{list(durations.shape)}"
            + (f" with {durations.min()}" if durations.size else "")
        )
    return durations
