"""How much sound a core turns into HuBERT features in a second, beside a plain Hugging Face pass.

    python benchmarks/encode.py [--seconds 10] [--rounds 5] [--checkpoint DIR --audio DIR] [--json FILE]

A full-size 25 Hz HuBERT with random weights, up to layer 11. Plain is one clip at a time through ``HubertModel`` in
float32 with sdpa, layers above dropped. All passes take turns in one process on one thread, and the best CPU time of
each counts, so that other load on the machine weighs on all alike. The limit is what a core could do if every
multiplication of a direct pass ran at the speed of the fastest matrix product measured in the same run.

With a checkpoint (the directory with the official files) and audio, also the share of units that bf16 leaves unchanged.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import HubertConfig, HubertModel

from stlm.audio import read_audio
from stlm.learn.linear import Linear
from stlm.learn.speech_transformer import DTYPES, SpeechTransformer
from stlm.plugin import default_registry

RATE = 16000
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus"}


def make_model() -> HubertModel:
    torch.manual_seed(0)
    config = HubertConfig(
        conv_dim=[512] * 8,
        conv_kernel=[10, 3, 3, 3, 3, 2, 2, 2],
        conv_stride=[5, 2, 2, 2, 2, 2, 2, 2],
        num_hidden_layers=11,
        attn_implementation="sdpa",
    )
    return HubertModel(config).eval().requires_grad_(False)


def flops(config: HubertConfig, num_samples: int) -> float:
    """Floating-point operations of the products of a direct pass, two for each multiplication with its addition."""
    length, channels, total = num_samples, 1, 0
    for width, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        length = (length - kernel) // stride + 1
        total += length * width * channels * kernel
        channels = width
    D, inner = config.hidden_size, config.intermediate_size
    total += length * D * channels
    total += length * D * (D // config.num_conv_pos_embedding_groups) * config.num_conv_pos_embeddings
    total += config.num_hidden_layers * length * (4 * D * D + 2 * D * inner + 2 * length * D)
    return 2.0 * total


def fastest_product(dtype: torch.dtype) -> float:
    """Operations per second of a product of 1,000 by 1,536 by 1,536, the best of ten."""
    rows, weight = torch.randn(1000, 1536).to(dtype), torch.randn(1536, 1536)
    linear = Linear(weight, None, dtype=dtype, device=torch.device("cpu"))
    return 2.0 * 1000 * 1536 * 1536 / min(seconds(lambda: linear(rows)) for _ in range(10))


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(passes: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The best CPU seconds of each, in interleaved rounds, after one that does not count."""
    for work in passes.values():
        work()
    times = {name: [] for name in passes}
    for _ in range(rounds):
        for name, work in passes.items():
            times[name].append(seconds(work))
    return {name: min(found) for name, found in times.items()}


def agreement(checkpoint: Path, audio: Path) -> tuple[dict[str, float], int]:
    """Share of raw units that each rounded precision gives as fp32 does, and how many there are."""
    files = sorted(file for file in audio.rglob("*") if file.suffix.lower() in SUFFIXES)
    sounds = [read_audio(file, RATE) for file in files]
    codes = {}
    for precision in DTYPES:
        options = {"path": str(checkpoint), "precision": precision}
        units = default_registry().build("unit_encoder", "hubert_25hz", options).encode(sounds)
        codes[precision] = np.concatenate([item.codes[:, 0] for item in units])
    exact = codes.pop("fp32")
    return {name: float(np.mean(found == exact)) for name, found in codes.items()}, len(exact)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = dict(tuple(map(str.strip, line.split(":", 1))) for line in lines if ":" in line)
    family = f"family {named['cpu family']} model {named['model']}" if "cpu family" in named else platform.machine()
    return f"{named.get('model name', platform.processor())} ({family})"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=10.0, help="length of the clip")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--checkpoint", type=Path)
    arguments.add_argument("--audio", type=Path)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    model = make_model()
    wave = np.random.default_rng(0).normal(0, 0.1, int(options.seconds * RATE)).astype(np.float32)
    batch = torch.from_numpy(wave)[None]
    fast = {name: SpeechTransformer(model, layer=11, precision=name) for name in DTYPES}

    with torch.inference_mode():
        passes: dict[str, Callable[[], object]] = {"plain": lambda: model(batch)}
        passes |= {name: (lambda item=item: item.hidden([wave])) for name, item in fast.items()}
        times = measure(passes, options.rounds)
        peaks = {name: fastest_product(dtype) for name, dtype in DTYPES.items()}
    per_second = flops(model.config, len(wave)) / options.seconds
    rows = {
        name: {
            "audio_seconds_per_cpu_second": options.seconds / taken,
            "ratio_to_plain": times["plain"] / taken,
            "limit": peaks["fp32" if name == "plain" else name] / per_second,
        }
        for name, taken in times.items()
    }
    print(f"{processor()}, one thread; torch {torch.__version__}, transformers {transformers.__version__}")
    print(
        f"{options.seconds:g} s clip, {per_second / 1e9:.2f} GFLOP a second of sound; fastest products "
        + ", ".join(f"{name} {peak / 1e9:.0f} GFLOP/s" for name, peak in peaks.items())
    )
    print(f"{'':<10}{'audio s / CPU s':>16}{'x plain':>10}{'limit':>8}")
    for name, row in rows.items():
        print(
            f"{name:<10}{row['audio_seconds_per_cpu_second']:>16.1f}{row['ratio_to_plain']:>10.2f}{row['limit']:>8.1f}"
        )
    record: dict[str, object] = {"rows": rows, "gflop_per_audio_second": per_second / 1e9, "processor": processor()}
    if options.checkpoint and options.audio:
        shares, count = agreement(options.checkpoint, options.audio)
        for name, share in shares.items():
            print(f"units of {name} that fp32 gives too: {100 * share:.2f} % of {count}")
        record |= {"agreement": shares, "units": count}
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
