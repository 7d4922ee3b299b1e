"""Data of a given size, random but seeded: sounds, units, utterances, formats, codecs, and a whole tiny system.

Three formats stand for the shapes that occur: one stream (Spirit LM Base), three streams at three rates (Expressive),
and one stream of several codebooks (Mimi, EnCodec).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stlm.codec import Codec
from stlm.store import ShardSet, ShardWriter
from stlm.testing.fakes import ByteText, EnergyEncoder, ToneVocoder
from stlm.types import Audio, Format, StreamSpec, Units, Utterance, Word

if TYPE_CHECKING:
    from stlm.system import SpeechTextLM

SAMPLE_RATE = 16000
VOCABULARY = tuple(
    [
        "the",
        "a",
        "cat",
        "dog",
        "bird",
        "walked",
        "sang",
        "over",
        "under",
        "Anna's",
        "house",
        "tree",
        "and",
        "then",
        "slowly",
        "twenty-one",
    ]
)
SPECIAL_IDS = {"bos": 256, "eos": 257, "pad": 258}
"""Begin, end and padding lie in the text block after the 256 bytes, as Llama's lie in its own."""


def make_spec(
    name: str, *, size: int = 500, hop: int = 640, codebooks: int = 1, sample_rate: int = SAMPLE_RATE, seed: int = 0
) -> StreamSpec:
    """A stream; another `seed` is another encoder."""
    key = f"{name}:{size}:{hop}:{codebooks}:{sample_rate}:{seed}"
    return StreamSpec(
        name=name,
        codebook_sizes=(size,) * codebooks,
        sample_rate=sample_rate,
        hop=hop,
        window=hop,
        fingerprint=hashlib.sha256(key.encode()).hexdigest(),
    )


HUBERT = make_spec("hubert", size=501, hop=640)
PITCH = make_spec("pitch", size=64, hop=1280)
STYLE = make_spec("style", size=100, hop=16000)
MIMI = make_spec("mimi", size=32, hop=1280, codebooks=4)
BASE_STREAMS = (HUBERT,)
EXPRESSIVE_STREAMS = (STYLE, PITCH, HUBERT)
CODEBOOK_STREAMS = (MIMI,)


def make_units(spec: StreamSpec, num_frames: int, rng: np.random.Generator, *, distinct: bool = False) -> Units:
    """Random units in runs of about two frames; with `distinct` frame i has code i, so that each can be found again."""
    sizes = np.array(spec.codebook_sizes)
    if distinct:
        codes = np.arange(num_frames)[:, None] % sizes
    else:
        runs = rng.integers(0, sizes, size=(num_frames, len(sizes)))
        kept = np.maximum.accumulate(np.where(rng.random(num_frames) < 0.5, np.arange(num_frames), 0))
        codes = runs[kept] if num_frames else runs
    return Units(spec=spec, codes=codes.astype(np.uint16))


def make_utterance(
    seed: int = 0,
    *,
    num_words: int = 12,
    streams: Sequence[StreamSpec] = BASE_STREAMS,
    distinct: bool = False,
    with_text: bool = True,
    with_words: bool = True,
) -> Utterance:
    """A spoken sentence or more with punctuation, pauses, word times and units.

    Args:
        seed: decides everything, and the id.
        num_words: words of the text.
        streams: streams of the units; none gives an utterance of text alone.
        distinct: every word and every frame differs from all others, so that they can be found again.
        with_text, with_words: False for speech without transcript, or without word times.
    """
    rng = np.random.default_rng([seed, num_words])
    text, places = _write(num_words, rng, distinct)
    words, num_samples = _speak(text, places, rng)
    if not streams:
        return Utterance(id=f"utterance-{seed}", text=text)
    audio = Audio(samples=rng.normal(0, 0.1, num_samples).astype(np.float32), sample_rate=SAMPLE_RATE)
    units = {spec.name: make_units(spec, spec.num_frames(num_samples), rng, distinct=distinct) for spec in streams}
    return Utterance(
        id=f"utterance-{seed}",
        audio=audio,
        text=text if with_text else None,
        words=words if with_words and with_text else (),
        streams=units,
        speaker=f"speaker-{seed % 3}",
    )


def _write(num_words: int, rng: np.random.Generator, distinct: bool) -> tuple[str, list[tuple[int, int]]]:
    text, places = "", []
    for index in range(num_words):
        word = f"word{index}" if distinct else str(rng.choice(VOCABULARY))
        start = len(text) + (1 if text else 0)
        text += f" {word}" if text else word
        places.append((start, len(text)))
        text += str(rng.choice(["", "", "", ",", ".", "!"])) if index + 1 < num_words else "."
    return text, places


def _speak(text: str, places: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[tuple[Word, ...], int]:
    """Words of 80 to 500 ms with pauses between some of them and silence around all."""
    words, clock = [], int(rng.integers(0, SAMPLE_RATE // 2))
    for start, end in places:
        length = int(rng.integers(SAMPLE_RATE // 12, SAMPLE_RATE // 2))
        words.append(Word(text=text[start:end], start=clock, end=clock + length, char_start=start, char_end=end))
        clock += length + int(rng.integers(0, SAMPLE_RATE // 4)) * int(rng.random() < 0.4)
    return tuple(words), clock + int(rng.integers(SAMPLE_RATE // 4, SAMPLE_RATE))


def make_corpus(
    num: int, *, seed: int = 0, least_words: int = 4, most_words: int = 20, **options: Any
) -> list[Utterance]:
    """`num` utterances of various lengths; `options` as for `make_utterance`."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(least_words, most_words + 1, size=num)
    return [make_utterance(1000 * seed + index, num_words=int(size), **options) for index, size in enumerate(sizes)]


def write_shards(
    directory: Path, utterances: Sequence[Utterance], *, num_shards: int = 2, group_size: int = 4, **options: Any
) -> ShardSet:
    """Write utterances as shards and open them; `options` as for `ShardWriter`."""
    directory.mkdir(parents=True, exist_ok=True)
    streams = {name: units.spec for utterance in utterances for name, units in utterance.streams.items()}
    for shard in range(num_shards):
        path = directory / f"shard-{shard:05d}-of-{num_shards:05d}.parquet"
        with ShardWriter(path, streams, group_size=group_size, **options) as writer:
            for utterance in utterances[shard::num_shards]:
                writer.write(utterance)
    return ShardSet(directory)


def make_sounds(*, seed: int = 0, sample_rate: int = SAMPLE_RATE) -> list[Audio]:
    """Sounds of many lengths: noise, a gliding tone, silence, clicks, and one too short for any encoder."""
    rng = np.random.default_rng(seed)

    def audio(samples: np.ndarray) -> Audio:
        return Audio(samples=samples.astype(np.float32), sample_rate=sample_rate)

    time = np.arange(int(1.37 * sample_rate)) / sample_rate
    glide = 0.3 * np.sin(2 * np.pi * (120 * time + 40 * time**2)) * (1 + np.sin(2 * np.pi * 3 * time)) / 2
    clicks = np.zeros(int(0.5 * sample_rate))
    clicks[:: sample_rate // 20] = 0.8
    return [
        audio(rng.normal(0, 0.1, int(0.71 * sample_rate))),
        audio(glide),
        audio(np.zeros(int(0.4 * sample_rate))),
        audio(clicks),
        audio(np.concatenate([rng.normal(0, 0.2, sample_rate), np.zeros(sample_rate // 3), glide])),
        audio(rng.normal(0, 0.1, 3)),
    ]


def base_format() -> Format:
    """Text and one stream of units, deduplicated."""
    return _format(
        [{"name": "hubert", "size": 501, "symbol": "[Hu{}]"}],
        [{"stream": "hubert", "rate_hz": 25.0, "anchor": True}],
    )


def expressive_format(*, carry: bool = True) -> Format:
    """Text, style at 1 Hz, pitch at 12.5 Hz and HuBERT sorted at 24.99 Hz."""
    return _format(
        [
            {"name": "hubert", "size": 501, "symbol": "[Hu{}]"},
            {"name": "pitch", "size": 64, "symbol": "[Pi{}]"},
            {"name": "style", "size": 100, "symbol": "[St{}]"},
        ],
        [
            {"stream": "style", "rate_hz": 1.0, "dedup": False, "carry": carry},
            {"stream": "pitch", "rate_hz": 12.5, "carry": carry},
            {"stream": "hubert", "rate_hz": 24.99, "anchor": True},
        ],
    )


def codebook_format(codebooks: int = 4) -> Format:
    """Text and one stream of several codebooks, frame after frame."""
    return _format(
        [{"name": "mimi", "size": 32, "codebooks": codebooks, "symbol": "[M{}:{}]"}],
        [{"stream": "mimi", "rate_hz": 12.5, "dedup": False, "anchor": True}],
    )


def two_layout_format() -> Format:
    """AudioLM's coarse stage: semantic units, then acoustic ones, in one document."""
    data = base_format().as_dict()
    data["blocks"].append({"name": "mimi", "size": 32, "codebooks": 4, "symbol": "[M{}:{}]"})
    data["layouts"]["acoustic"] = [{"stream": "mimi", "rate_hz": 12.5, "dedup": False, "anchor": True}]
    return Format.from_dict(data)


def energy_format(levels: int = 8) -> Format:
    """Text and the units of `EnergyEncoder`."""
    return _format(
        [{"name": "energy", "size": levels, "symbol": "[En{}]"}],
        [{"stream": "energy", "rate_hz": 50.0, "anchor": True}],
    )


def _format(blocks: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]) -> Format:
    first = [
        {"name": "text", "size": 256 + len(SPECIAL_IDS)},
        {"name": "markers", "symbols": ["[Text]", "[Speech]", "[ASR]", "[TTS]"]},
    ]
    return Format.from_dict({"blocks": [*first, *blocks], "layouts": {"default": list(rules)}, **SPECIAL_IDS})


def make_codec(format: Format, streams: Sequence[StreamSpec]) -> Codec:
    """A codec of bytes and the given streams."""
    return Codec(format, ByteText(), {spec.name: spec for spec in streams})


def base_codec() -> Codec:
    return make_codec(base_format(), BASE_STREAMS)


def expressive_codec(*, carry: bool = True) -> Codec:
    return make_codec(expressive_format(carry=carry), EXPRESSIVE_STREAMS)


def codebook_codec() -> Codec:
    return make_codec(codebook_format(), CODEBOOK_STREAMS)


def two_layout_codec() -> Codec:
    return make_codec(two_layout_format(), (HUBERT, MIMI))


def tiny_system(*, seed: int = 0) -> SpeechTextLM:
    """A whole untrained system of fakes: bytes, energy units, a tiny backbone, beeps."""
    from stlm.system import SpeechTextLM
    from stlm.testing.tiny_backbone import TinyBackbone

    encoder = EnergyEncoder()
    format = energy_format(encoder.levels)
    backbone = TinyBackbone(len(format.vocabulary), seed=seed)
    return SpeechTextLM(make_codec(format, [encoder.spec]), {"energy": encoder}, backbone, ToneVocoder())
