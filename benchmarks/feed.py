"""How many tokens per second and core the feed makes: read shard, interleave, encode, pack.

    python benchmarks/feed.py [--seconds 5] [--json FILE]

Three mixtures over shards made on the spot (utterances of about 12 s with 25 Hz units in runs as HuBERT gives
them, texts of about 320 words): speech only; pre-encoded text; and the paper's third each with BPE done
live. One process, one thread.
The floor is memory: a token is 8 bytes in each of the batch's four arrays, so 3 million tokens a second write 96 MB/s,
a hundredth of what one core can copy; everything above that is Python and Arrow overhead per utterance.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stlm.codec import Codec
from stlm.feed import FeedOptions, FeedSource, PackedDataset
from stlm.interfaces import Interleaver, TextUnitEncoder
from stlm.interleave import Unimodal, WordSpans
from stlm.plugin import default_registry
from stlm.store import ShardSet, ShardWriter
from stlm.types import Audio, Format, StreamSpec, Units, Utterance, Word

SPEC = StreamSpec(name="hubert", codebook_sizes=(501,), sample_rate=16000, hop=640, window=640, fingerprint="benchmark")
NUM_UTTERANCES = 3000
SYLLABLES = ("ba", "ti", "ko", "ren", "sal", "mu", "dor", "vin", "pel", "ga", "sho", "tra", "li", "em", "ur", "nos")


def make_utterances(rng: np.random.Generator) -> list[Utterance]:
    """Speech-like utterances: Zipfian words of 1-3 syllables at 2.7 words a second, runs of 1-3 equal units."""
    lexicon = ["".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(8000)]
    weights = 1 / np.arange(1, len(lexicon) + 1)
    weights /= weights.sum()
    return [_utterance(rng, index, lexicon, weights) for index in range(NUM_UTTERANCES)]


def _utterance(rng: np.random.Generator, index: int, lexicon: Sequence[str], weights: np.ndarray) -> Utterance:
    tokens = [lexicon[i] for i in rng.choice(len(lexicon), rng.integers(16, 49), p=weights)]
    samples = rng.integers(3000, 9000, len(tokens))
    ends = np.cumsum(samples)
    words, cursor = [], 0
    for token, end, length in zip(tokens, ends.tolist(), samples.tolist(), strict=True):
        words.append(Word(text=token, start=end - length, end=end, char_start=cursor, char_end=cursor + len(token)))
        cursor += len(token) + 1
    total = int(ends[-1])
    runs = rng.integers(1, 4, SPEC.num_frames(total))
    codes = np.repeat(rng.integers(0, 500, len(runs)), runs)[: SPEC.num_frames(total)].astype(np.uint16)[:, None]
    audio = Audio(samples=np.zeros(total, np.float32), sample_rate=16000)
    return Utterance(
        id=f"u{index}",
        audio=audio,
        text=" ".join(tokens),
        words=tuple(words),
        streams={"hubert": Units(spec=SPEC, codes=codes)},
    )


def train_text(utterances: Sequence[Utterance], directory: Path) -> TextUnitEncoder:
    """A SentencePiece BPE of 3,000 pieces through the plugin door."""
    directory.mkdir()
    registry = default_registry()
    registry.build("recipe", "bpe", {"vocab_size": 3000}).train(utterances, directory)
    return registry.build("unit_encoder", "sentencepiece", {"path": str(directory)})


def make_format(text: TextUnitEncoder) -> Format:
    return Format.from_dict(
        {
            "blocks": [
                {"name": "text", "size": text.vocab_size},
                {"name": "markers", "symbols": ["<s>", "</s>", "[Text]", "[Speech]"]},
                {"name": "hubert", "size": 501, "symbol": "[Hu{}]"},
            ],
            "layouts": {"default": [{"stream": "hubert", "rate_hz": 24.99, "anchor": True}]},
            "bos": "<s>",
            "eos": "</s>",
        }
    )


def write_corpora(root: Path, utterances: Sequence[Utterance], codec: Codec) -> dict[str, ShardSet]:
    """Shards of speech with words, of text, and of pre-encoded text."""
    fingerprint = codec.text_encoder.fingerprint
    texts = [
        Utterance(id=utterances[start].id, text=" ".join(u.text or "" for u in utterances[start : start + 10]))
        for start in range(0, len(utterances), 10)
    ]
    written = {
        "speech": (utterances, {"hubert": SPEC}, None),
        "text": (texts, {}, None),
        "text_ids": ([replace(u, text_units=codec.encode_text(u.text or "")) for u in texts], {}, fingerprint),
    }
    found = {}
    for name, (items, streams, text_fingerprint) in written.items():
        (root / name).mkdir()
        with ShardWriter(
            root / name / "a.parquet", streams, text_fingerprint=text_fingerprint, group_size=128
        ) as writer:
            for item in items:
                writer.write(item)
        found[name] = ShardSet(root / name)
    return found


def rate(sources: Callable[[], Sequence[FeedSource]], codec: Codec, seconds: float) -> float:
    """Tokens per second of the feed, after a warm-up of a fifth of the time."""
    batches = iter(PackedDataset(sources, lambda: codec, FeedOptions(length=4096, rows=8)))
    end = time.perf_counter() + seconds / 5
    while time.perf_counter() < end:
        next(batches)
    start, tokens = time.process_time(), 0
    while time.process_time() - start < seconds:
        tokens += next(batches).num_tokens
    return tokens / (time.process_time() - start)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=5.0)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        utterances = make_utterances(np.random.default_rng(0))
        text = train_text(utterances, root / "bpe")
        codec = Codec(make_format(text), text, {"hubert": SPEC})
        shards = write_corpora(root, utterances, codec)

        def source(name: str, corpus: str, policy: Interleaver) -> FeedSource:
            return FeedSource(name=name, shards=shards[corpus], interleaver=policy)

        mixtures = {
            "speech only": [source("speech", "speech", Unimodal("speech"))],
            "pre-encoded text": [source("text", "text_ids", Unimodal("text"))],
            "thirds, BPE live": [
                source("speech", "speech", Unimodal("speech")),
                source("text", "text", Unimodal("text")),
                source("interleaved", "speech", WordSpans()),
            ],
        }
        results = {name: rate(lambda found=found: found, codec, options.seconds) for name, found in mixtures.items()}
    for name, value in results.items():
        print(f"{name:<20} {value / 1e6:6.2f} million tokens per second and core")
    if options.json:
        record = {
            "tokens_per_second_and_core": results,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
