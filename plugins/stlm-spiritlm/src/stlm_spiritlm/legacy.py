"""The official tokenizer's calls on stlm's parts: unit dictionaries and strings in, units, strings and samples out.

``legacy_tokenizer("spiritlm-base", DIR)`` answers `encode_units`, `encode_string`, `string2units` and `decode` as the
official object does, a migrating script's habits included. New code uses `stlm.load`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sentencepiece import SentencePieceProcessor

from stlm.errors import DataError
from stlm.interfaces import SpeechUnitEncoder, Vocoder
from stlm.interfaces.unit_encoder import encode_streams
from stlm.types import AlignedUnits, Audio, as_codes
from stlm_spiritlm.strings import string_to_units, to_integers, units_to_string

SAMPLE_RATE = 16000
HOLD = {"pitch": 2, "style": 25}
"""HuBERT frames (25 Hz) in one frame of pitch (12.5 Hz) and of style (1 Hz)."""

BEGIN = 1


class LegacyTokenizer:
    """The official speech tokenizer's methods.

    Args:
        encoders: by stream, "hubert" and for the expressive model "pitch" and "style".
        vocoder: speaks the units.
        seed: draws the style of strings that have pitch and no style; the official tool draws without a seed.
    """

    def __init__(self, encoders: Mapping[str, SpeechUnitEncoder], vocoder: Vocoder, seed: int = 0) -> None:
        self.encoders = encoders
        self.vocoder = vocoder
        self._rng = random.Random(seed)

    def encode_units(self, audio: Any, channel_id: int | None = None) -> dict[str, str]:
        """Frame-level units of 16 kHz samples ``[T]`` or ``[2, T]`` (their mean, or one channel), space-joined."""
        sound = Audio(samples=_mono(np.asarray(audio, np.float32), channel_id), sample_rate=SAMPLE_RATE)
        found = encode_streams(self.encoders, [sound])
        return {name: " ".join(map(str, units[0].codes[:, 0])) for name, units in found.items()}

    def encode_string(self, audio: Any) -> str:
        """Units as one string, without markers."""
        return units_to_string({name: to_integers(units) for name, units in self.encode_units(audio).items()})

    def string2units(self, text: str, duplicate_hubert_for_multiple_pitch: bool = False) -> dict[str, str]:
        """Units of a string, all streams of one length."""
        return string_to_units(text, legacy_duplicate_hubert=duplicate_hubert_for_multiple_pitch, rng=self._rng)

    def decode(self, code: str | Mapping[str, str], speaker_id: int = 2, dur_pred: bool = True) -> np.ndarray:
        """Samples ``float32[N]`` at 16 kHz of a string or of a dictionary of units.

        Durations are predicted unless `dur_pred` is off or pitch has another length than HuBERT, which means frames.

        Raises:
            DataError: there is no HuBERT unit, one is malformed, or the lengths of the streams do not fit each other.
        """
        given = self.string2units(code) if isinstance(code, str) else code
        units = {name: to_integers(given[name]) for name in ("hubert", *HOLD) if given.get(name)}
        hubert = units.get("hubert", [])
        if not hubert:
            raise DataError(f"{str(code)[:60]!r} holds no HuBERT unit, expected one at least: nothing can be spoken")
        is_frames = not dur_pred or ("pitch" in units and len(units["pitch"]) != len(hubert))
        streams = {name: _held(codes, name, len(hubert)) if is_frames else codes for name, codes in units.items()}
        durations = np.ones(len(hubert), np.int32) if is_frames else None
        aligned = AlignedUnits(streams={name: as_codes(codes) for name, codes in streams.items()}, durations=durations)
        return self.vocoder.synthesize(aligned, voice=speaker_id).samples


def prompt_string_ids(tokenizer: str | Path, prompt: str) -> np.ndarray:
    """``int64[S]``: ids of a prompt string as the official tokenizer makes them, from its ``tokenizer.model``.

    Unit literals in the string become units, whoever wrote them; `SpeechTextLM.prompt_ids` never does that.
    """
    processor = SentencePieceProcessor(model_file=str(tokenizer))
    return np.array([BEGIN, *processor.encode(prompt)], np.int64)


def _mono(samples: np.ndarray, channel: int | None) -> np.ndarray:
    samples = samples.squeeze()
    if samples.ndim == 1:
        return samples
    if samples.ndim != 2 or samples.shape[0] != 2:
        raise DataError(f"audio has shape {list(samples.shape)}, expected [samples] or [2, samples]: transpose it")
    return samples.mean(axis=0) if channel is None else samples[channel]


def _held(codes: list[int], name: str, num_frames: int) -> list[int]:
    """Codes of a slower stream on HuBERT's frames; a short tail takes the last code, what is too much is cut."""
    if name == "hubert":
        return codes
    rate = HOLD[name]
    if abs(len(codes) * rate - num_frames) > rate:
        raise DataError(f"{len(codes)} units of {name} do not fit {num_frames} of hubert, expected one for {rate}")
    held = [code for code in codes for _ in range(rate)][:num_frames]
    return held + [codes[-1]] * (num_frames - len(held))
