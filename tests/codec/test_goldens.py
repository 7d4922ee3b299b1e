"""Ids and strings of fixed documents, kept as files: what changes them changes every trained model.

The documents are made by arithmetic, so that nothing but the codec decides the result.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stlm.codec import align
from stlm.testing.factories import (
    BASE_STREAMS,
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    base_codec,
    codebook_codec,
    expressive_codec,
)
from stlm.testing.golden import assert_golden
from stlm.types import AudioRef, Document, Marker, SpeechSpan, StreamSpec, TextSpan, Units, Utterance, Word

GOLDENS = Path(__file__).parents[1] / "golden"
CASES = {
    "base": (base_codec(), BASE_STREAMS),
    "expressive": (expressive_codec(), EXPRESSIVE_STREAMS),
    "expressive_without_carry": (expressive_codec(carry=False), EXPRESSIVE_STREAMS),
    "codebooks": (codebook_codec(), CODEBOOK_STREAMS),
}


def spoken(streams: tuple[StreamSpec, ...]) -> Utterance:
    """Three seconds, three words, codes that repeat now and then."""
    units = {}
    for spec in streams:
        frame, codebook = np.arange(spec.num_frames(48000))[:, None], np.arange(spec.num_codebooks)[None]
        codes = (frame * 2 // 3 * 7 + codebook * 5) % spec.codebook_sizes[0]
        units[spec.name] = Units(spec=spec, codes=codes.astype(np.uint16))
    words = tuple(
        Word(text=text, start=start, end=start + 7000, char_start=place, char_end=place + len(text))
        for text, start, place in (("One", 4000, 0), ("two", 26000, 5), ("three", 41000, 9))
    )
    audio = AudioRef(uri="golden.wav", sample_rate=16000, num_samples=48000)
    return Utterance(id="golden", text="One, two three.", audio=audio, words=words, streams=units)


def document(streams: tuple[StreamSpec, ...]) -> Document:
    utterance = spoken(streams)
    return (
        Marker(name="[ASR]"),
        SpeechSpan(streams=utterance.slice(0, 1), loss=False),
        TextSpan(text=" two"),
        SpeechSpan(streams=utterance.slice(2, 3)),
        TextSpan(text="café 🙂"),
    )


@pytest.mark.parametrize("name", CASES)
def test_ids_and_strings_are_those_of_before(name: str) -> None:
    codec, streams = CASES[name]
    found = document(streams)
    sequence = codec.encode(found)
    aligned = align(codec.decode(sequence.ids)[1], codec.format.layout("default"))
    assert_golden(
        GOLDENS / f"codec_{name}.json",
        {
            "string": codec.to_string(found),
            "ids": " ".join(str(id) for id in sequence.ids),
            "loss": "".join("x" if flag else "." for flag in sequence.loss),
            "aligned": {stream: " ".join(map(str, codes[:, 0])) for stream, codes in aligned.streams.items()},
            "format_sha256": codec.format.sha256,
            "fingerprint": codec.fingerprint,
        },
    )
