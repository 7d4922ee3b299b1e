"""How many seconds of speech a core makes per second, against the textbook pass over the same weights.

    python plugins/stlm-hifigan/benchmarks/vocode.py [--seconds 20] [--rounds 5] [--threads 1] [--json FILE]

A full-size base vocoder with random weights. The textbook pass is HiFi-GAN as papers write it, whole, without autograd,
with folded weights; ours is `Decoder` in chunks, in float32 and in bfloat16. All ways take turns, so that what else the
machine does meets them alike; a ratio is the median over the rounds. Time is the CPU time of the process.

The floor is arithmetic: nearly all multiplications are in the residual blocks and cannot be left out. A peak in fp32,
divided by the operations counted here, is the most that a direct implementation can reach on a core.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from stlm_hifigan.decoding import Decoder
from stlm_hifigan.generator import Generator, GeneratorOptions

CHUNK_FRAMES = 500
FRAME_RATE = 25
OFFICIAL = GeneratorOptions(
    tables={"dict": (500, 128), "spkr": (4, 128), "style": (26, 128)},
    upsample_rates=(5, 4, 4, 4, 2),
    upsample_kernels=(11, 8, 8, 8, 4),
    initial_channels=512,
    resblock_kernels=(3, 7, 11),
    resblock_dilations=((1, 3, 5),) * 3,
    duration=(128, 3),
)


def random_generator() -> Generator:
    """Gains of about one, so that no value dies out or becomes subnormal."""
    torch.manual_seed(0)
    generator = Generator(OFFICIAL).eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if value.dim() == 3:
            value.normal_(0, (1.2 if "resblocks" in name else 1.5) / value[0].numel() ** 0.5)
    return generator


def textbook(generator: Generator, joined: torch.Tensor) -> torch.Tensor:
    """Samples of joined embeddings ``[1, C, T]``: layer by layer, all at once."""

    def conv(layer: torch.nn.Conv1d, hidden: torch.Tensor) -> torch.Tensor:
        return F.conv1d(hidden, layer.weight, layer.bias, 1, layer.padding, layer.dilation)

    hidden = conv(generator.conv_pre, joined)
    for stage, up in enumerate(generator.ups):
        hidden = F.conv_transpose1d(F.leaky_relu(hidden, 0.1), up.weight, up.bias, up.stride, up.padding)
        total = None
        for block in generator.resblocks[3 * stage : 3 * stage + 3]:
            inner = hidden
            for dilated, plain in zip(block.convs1, block.convs2, strict=True):
                inner = conv(plain, F.leaky_relu(conv(dilated, F.leaky_relu(inner, 0.1)), 0.1)) + inner
            total = inner if total is None else total + inner
        hidden = total / 3
    return torch.tanh(conv(generator.conv_post, F.leaky_relu(hidden)))[0, 0]


def chunked(decoder: Decoder, joined: torch.Tensor) -> torch.Tensor:
    """The same from the decoder, chunk by chunk."""
    total = joined.shape[-1]
    return torch.cat(
        [
            decoder.decode(lambda a, b: joined[0, :, a:b], first, min(total, first + CHUNK_FRAMES), total)
            for first in range(0, total, CHUNK_FRAMES)
        ]
    )


def operations_per_frame(generator: Generator) -> float:
    """Multiplications and additions of all convolutions for one frame (40 ms)."""
    count, rate = generator.conv_pre.weight.numel(), 1
    for stage, up in enumerate(generator.ups):
        count += rate * up.weight.numel()
        rate *= up.stride[0]
        blocks = generator.resblocks[3 * stage : 3 * stage + 3]
        count += rate * sum(value.numel() for block in blocks for value in block.parameters() if value.dim() == 3)
    return 2.0 * (count + rate * generator.conv_post.weight.numel())


def measure(ways: dict[str, Callable[[], torch.Tensor]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way in each round, after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if turn:
                times[name].append(time.process_time() - start)
    return times


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    generator = random_generator()
    joined = torch.randn(1, OFFICIAL.input_width, round(options.seconds * FRAME_RATE))
    exact, half = Decoder(generator), Decoder(generator, dtype=torch.bfloat16)
    ways = {
        "textbook": lambda: textbook(generator, joined),
        "fp32": lambda: chunked(exact, joined),
        "bf16": lambda: chunked(half, joined),
    }
    with torch.inference_mode():
        made = {name: way() for name, way in ways.items()}
        times = measure(ways, options.rounds)
    report(options, generator, made, times)


def report(
    options: argparse.Namespace, generator: Generator, made: dict[str, torch.Tensor], times: dict[str, list[float]]
) -> None:
    operations, power = operations_per_frame(generator) * FRAME_RATE, made["textbook"].square().mean()
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {options.threads} thread(s), "
        f"{options.seconds:g} s of sound, {options.rounds} rounds, {operations / 1e9:.2f} GFLOP per second of sound"
    )
    rows = {}
    for name, found in times.items():
        ratio = statistics.median(base / own for base, own in zip(times["textbook"], found, strict=True))
        best, usual = options.seconds / min(found), options.seconds / statistics.median(found)
        error = (made[name] - made["textbook"]).square().mean() / power
        decibels = f"{10 * torch.log10(error):.0f} dB" if error > 0 else "none"
        rows[name] = {"times_real_time": usual, "best": best, "ratio": ratio, "error": decibels}
        print(
            f"{name:<9} {usual:6.2f} x real time (best {best:.2f}), {best * operations / 1e9:6.1f} GFLOP/s at best, "
            f"{ratio:.2f} x the textbook, error {decibels}"
        )
    if options.json:
        machine = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
        record = {"seconds": options.seconds, "gflop_per_second": operations / 1e9, "ways": rows, **machine}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
