"""Encoders: audio or text in, discrete units out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from stlm.audio.resample import resample
from stlm.types import Audio, StreamSpec, TextUnits, Units


class UnitEncoder(ABC):
    """What every encoder has: an identity, and a way to be kept beside a checkpoint.

    Implement one of the two sub-interfaces, never this class.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash over everything that decides the output (weights, codebook, options)."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write all that `load` of the same component needs into an existing, empty directory."""


class SpeechUnitEncoder(UnitEncoder):
    """Audio to frame-level units of one stream.

    **Contract.** ``encode`` returns one `Units` per audio, in order, with codes within ``spec.codebook_sizes`` and
    ``len(units) == spec.num_frames(resampled length)``. It is deterministic; a batch gives what singles give, so
    padding must not change anything. Audio at another rate than ``spec.sample_rate`` is resampled with
    `stlm.audio.resample`.

    **Implement** ``spec``, ``encode`` and ``save``.

    **For free**: the fingerprint, contract tests (`stlm.testing.contracts.SpeechUnitEncoderContract`), preparation,
    caching and quarantine.

    **Example**

    >>> import numpy as np
    >>> from stlm.testing.fakes import EnergyEncoder
    >>> from stlm.types import Audio
    >>> encoder = EnergyEncoder()
    >>> units, = encoder.encode([Audio(samples=np.zeros(1600, np.float32), sample_rate=16000)])
    >>> len(units) == encoder.spec.num_frames(1600)
    True
    """

    @property
    @abstractmethod
    def spec(self) -> StreamSpec:
        """The stream that this encoder makes."""

    @abstractmethod
    def encode(self, batch: Sequence[Audio]) -> list[Units]:
        """Units of each audio, in order."""

    @property
    def fingerprint(self) -> str:
        return self.spec.fingerprint


class TextUnitEncoder(UnitEncoder):
    """Text to subword ids and back.

    **Contract.** Ids lie in ``0..vocab_size-1``; ``decode(encode(text).ids) == text`` for text with single spaces; a
    leading space is part of the text and survives. ``char_offsets`` are ordered and lie within the text.

    **Implement** ``vocab_size``, ``encode``, ``decode``, ``fingerprint`` and ``save``.

    **For free**: pre-encoded text in shards, streaming decoding, contract tests.

    **Example**

    >>> from stlm.testing.fakes import ByteText
    >>> ByteText().decode(ByteText().encode("hello").ids)
    'hello'
    """

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids."""

    @abstractmethod
    def encode(self, text: str) -> TextUnits:
        """Subword ids of one text."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of a sequence of ids; a leading word boundary gives a leading space."""

    def encode_ids(self, text: str) -> Sequence[int]:
        """Ids alone, for hot paths. Override where offsets cost much."""
        return self.encode(text).ids.tolist()


class ExportableTextEncoder(TextUnitEncoder):
    """A text encoder that the library ``tokenizers`` can play, so that `stlm export` can write it for other tools.

    **Contract.** ``Tokenizer.from_str(encoder.tokenizer_json())`` gives for every text, special tokens not added, the
    ids that ``encode_ids`` gives, and for those ids the text that ``decode`` gives. So nothing is put in front of a
    text, and a control symbol in a text ("</s>") is text: symbols of that kind are no added tokens.

    **Implement** ``tokenizer_json`` beside the methods of `TextUnitEncoder`.

    **For free**: `stlm export`, contract tests (`stlm.testing.contracts.TextUnitEncoderContract`).

    **Example** (encoders of this kind come with stlm-bpe)

    >>> from stlm.interfaces import ExportableTextEncoder
    >>> from stlm.testing.fakes import ByteText
    >>> isinstance(ByteText(), ExportableTextEncoder)
    False
    """

    @abstractmethod
    def tokenizer_json(self) -> str:
        """What stands in a ``tokenizer.json``."""


def encode_streams(encoders: Mapping[str, SpeechUnitEncoder], sounds: Sequence[Audio]) -> dict[str, list[Units]]:
    """Units of each sound in every stream, as one pipeline: sounds are resampled once per rate, not per encoder."""
    at_rate = {
        rate: [resample(sound, rate) for sound in sounds]
        for rate in {encoder.spec.sample_rate for encoder in encoders.values()}
    }
    return {name: encoder.encode(at_rate[encoder.spec.sample_rate]) for name, encoder in encoders.items()}
