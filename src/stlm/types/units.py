"""Discrete units of speech and text, and what an encoder promises about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stlm.errors import DataError, FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """What a speech unit encoder promises about its output.

    Args:
        name: the stream's name, as formats and layouts refer to it ("hubert", "pitch", "style").
        codebook_sizes: size of each of the K codebooks.
        sample_rate: rate at which the encoder reads audio, in Hz.
        hop: samples between two frames. The frame rate is ``sample_rate / hop``.
        window: samples that the first frame needs; a stack of unpadded strided convolutions has its receptive field
            here, a padded analysis has its hop. Frames of n samples: ``(n - window) // hop + 1``.
        fingerprint: hash over weights and codebooks: two 500-unit k-means are not the same stream.
        chunk: longer audio is encoded in independent pieces of so many samples; 0 for encoders without such a limit.
        shortest: a piece of fewer samples gives no frame.
    """

    name: str
    codebook_sizes: tuple[int, ...]
    sample_rate: int
    hop: int
    window: int
    fingerprint: str
    chunk: int = 0
    shortest: int = 0

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate / self.hop

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    def num_frames(self, num_samples: int) -> int:
        """Frames that `num_samples` samples (at `sample_rate`) give."""
        return sum(map(self._frames_of_piece, self.pieces(num_samples)))

    def pieces(self, num_samples: int) -> list[int]:
        """Lengths of the independently encoded pieces of so many samples, those that give no frame included."""
        if not self.chunk:
            return [num_samples]
        full, rest = divmod(num_samples, self.chunk)
        return [self.chunk] * full + ([rest] if rest else [])

    def _frames_of_piece(self, num_samples: int) -> int:
        if num_samples < self.shortest:
            return 0
        return max(0, (num_samples - self.window) // self.hop + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Frame-level codes of one stream, **not** deduplicated.

    Args:
        spec: the stream.
        codes: ``uint16[T, K]``.
        start: index of the first frame on the utterance's clock, so that a cut keeps its onset times.
        held: ``uint16[K]``, the codes in force just before `start` (None at the start of an utterance). A layout with
            ``carry`` repeats them at the start of a span.
    """

    spec: StreamSpec
    codes: np.ndarray
    start: int = 0
    held: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype != np.uint16:
            raise FormatError(
                f"units of stream {self.spec.name!r} must be uint16[T, K], "
                f"got {self.codes.dtype}{list(self.codes.shape)}"
            )

    def __len__(self) -> int:
        return len(self.codes)

    def cut(self, first: int, last: int) -> Units:
        """Frames ``first:last`` (counted within these units), with `held` set to the frame before the cut."""
        held = self.codes[first - 1] if first > 0 else self.held
        return Units(spec=self.spec, codes=self.codes[first:last], start=self.start + first, held=held)

    def check_range(self) -> None:
        """Raise FormatError if a code lies outside its codebook."""
        for codebook, size in enumerate(self.spec.codebook_sizes):
            if len(self.codes) and int(self.codes[:, codebook].max()) >= size:
                raise FormatError(
                    f"stream {self.spec.name!r}, codebook {codebook}: code {int(self.codes[:, codebook].max())} "
                    f"is outside 0..{size - 1}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUnits:
    """Subword ids of a text with their places in it.

    Args:
        ids: ``int32[S]``, local to the text tokenizer (a codec adds the block's offset).
        char_offsets: ``int32[S, 2]``, the half-open range of characters that each id covers.
        fingerprint: the text tokenizer that made them.
    """

    ids: np.ndarray
    char_offsets: np.ndarray
    fingerprint: str

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or self.char_offsets.shape != (len(self.ids), 2):
            raise FormatError(
                f"text units need ids [S] and char_offsets [S, 2], got {list(self.ids.shape)} "
                f"and {list(self.char_offsets.shape)}"
            )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedUnits:
    """All streams on the anchor's clock: what a vocoder eats.

    Args:
        streams: ``{name: uint16[N, K]}``, all of one length N.
        durations: ``int32[N]`` frames of the anchor stream per row, or None where the vocoder must predict them.
    """

    streams: Mapping[str, np.ndarray]
    durations: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(codes) for name, codes in self.streams.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"aligned streams must have one length, got {lengths}")
        if self.durations is not None and len(self.durations) != len(self):
            raise DataError(f"durations must have {len(self)} entries, got {len(self.durations)}")

    def __len__(self) -> int:
        return len(next(iter(self.streams.values()))) if self.streams else 0

    def with_durations(self, durations: np.ndarray | None) -> AlignedUnits:
        return replace(self, durations=durations)
