"""Recordings to shards of HuBERT units, by workers: how much sound a CPU second, and how busy the cores are.

    python benchmarks/prepare.py [--minutes 8] [--workers 1,2] [--device cuda --batch-seconds 2400 --readers 8]
                                 [--plot FILE.svg] [--json FILE]

Recordings of noise of 2 to 15 s, for any sound costs the same, and a full-size 25 Hz HuBERT with random weights up to
layer 11. Beside `stlm prepare` as it is, with its processes, its reading and its shards, runs the plain loop that users
write: one recording at a time through transformers' ``HubertModel`` in float32, one thread, and the nearest centroids.
CPU time counts that of all processes, their start too. On a GPU, wall time counts instead, beside the share of the
card's fastest bfloat16 product, the time in which the encoder waited for sound, and what the 570,000 hours of Spirit LM
(section 3.2) would take.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import HubertModel

from stlm.audio import read_audio
from stlm.interfaces import SpeechUnitEncoder
from stlm.plugin import Choice, default_registry
from stlm.prepare import Limits, LocalRunner, ShardTask, encode_utterances, prepare

sys.path.insert(0, str(Path(__file__).parent))
from encode import RATE, fastest_product, flops, make_model, processor

PAPER_HOURS = 570_000
LAYER = 11


def make_recordings(folder: Path, minutes: float) -> float:
    """Files of 2 to 15 s; returns their seconds."""
    folder.mkdir()
    rng, seconds = np.random.default_rng(0), 0.0
    while seconds < 60 * minutes:
        length = rng.uniform(2, 15)
        sound = rng.normal(0, 0.1, int(length * RATE)).clip(-1, 1)
        soundfile.write(folder / f"{seconds:09.2f}.flac", sound, RATE)
        seconds += int(length * RATE) / RATE
    return seconds


def save_parts(root: Path) -> dict[str, object]:
    """The model and 500 centroids, as options of the component ``hubert``."""
    model = make_model()
    model.save_pretrained(root / "model")
    centroids = np.random.default_rng(1).normal(size=(500, model.config.hidden_size)).astype(np.float32)
    np.save(root / "centroids.npy", centroids)
    return {
        "path": str(root / "model"),
        "codebook": str(root / "centroids.npy"),
        "layer": LAYER,
        "normalize": False,
    }


def plain_loop(files: list[Path], options: dict[str, object]) -> None:
    torch.set_num_threads(1)
    model = HubertModel.from_pretrained(str(options["path"])).eval()
    centroids = torch.from_numpy(np.load(str(options["codebook"])))
    with torch.inference_mode():
        for file in files:
            wave = torch.from_numpy(read_audio(file, RATE).samples)[None]
            torch.cdist(model(wave).last_hidden_state[0], centroids).argmin(1)


def stlm_prepare(
    folder: Path, out: Path, options: dict[str, object], runner: LocalRunner, limits: Limits, *, num_shards: int
) -> None:
    task = ShardTask(
        source=Choice(name="folder", options={"path": str(folder)}),
        encoders=(Choice(name="hubert", options=options),),
        out=out,
        shard=0,
        num_shards=num_shards,
        limits=limits,
    )
    prepare(task, runner, label=f"{runner.num_workers} x {options['precision']}")


def cpu_and_wall(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of this process and of the children that ended within, and of the clock."""
    start, before = time.perf_counter(), _cpu()
    work()
    return _cpu() - before, time.perf_counter() - start


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


class Timed(SpeechUnitEncoder):
    """Counts the seconds in which an encoder works."""

    def __init__(self, encoder: SpeechUnitEncoder) -> None:
        self.encoder, self.seconds = encoder, 0.0

    spec = property(lambda self: self.encoder.spec)

    def encode(self, batch):
        start = time.perf_counter()
        units = self.encoder.encode(batch)  # on the CPU when it returns, so a GPU has finished
        self.seconds += time.perf_counter() - start
        return units

    def save(self, directory: Path) -> None:
        self.encoder.save(directory)


def waiting(folder: Path, options: dict[str, object], limits: Limits) -> tuple[float, float]:
    """Seconds of the clock for all recordings, and the share in which the encoder had nothing to do."""
    encoder = Timed(default_registry().build("unit_encoder", "hubert", options))
    source = default_registry().build("source", "folder", {"path": str(folder)})
    start = time.perf_counter()
    for _ in encode_utterances(source.utterances(), [encoder], limits):
        pass
    wall = time.perf_counter() - start
    return wall, 1 - encoder.seconds / wall


def on_cpu(root: Path, options: dict[str, object], seconds: float, workers: list[int], record: dict) -> None:
    files = sorted((root / "sounds").glob("*.flac"))
    rows = {}
    cpu, wall = cpu_and_wall(lambda: plain_loop(files, options))
    rows["plain loop"] = {"cpu": cpu, "wall": wall, "workers": 1}
    for precision in ("fp32", "bf16", "bf16-fast"):
        for number in workers:
            chosen, runner = {**options, "precision": precision}, LocalRunner(number)
            out = root / f"{precision}-{number}"
            work = partial(stlm_prepare, root / "sounds", out, chosen, runner, Limits(), num_shards=16)
            cpu, wall = cpu_and_wall(work)
            rows[f"{precision}, {number} workers"] = {"cpu": cpu, "wall": wall, "workers": number}
    print(f"{'':<24}{'audio s / CPU s':>16}{'x plain':>9}{'audio s / s':>13}{'cores busy':>12}")
    for name, row in rows.items():
        row |= {"speed": seconds / row["cpu"], "ratio": rows["plain loop"]["cpu"] / row["cpu"]}
        row |= {"real_time": seconds / row["wall"], "busy": row["cpu"] / row["wall"] / row["workers"]}
        print(f"{name:<24}{row['speed']:>16.1f}{row['ratio']:>9.2f}{row['real_time']:>13.1f}{row['busy']:>12.0%}")
    record["rows"] = rows


def on_gpu(root: Path, options: dict[str, object], seconds: float, limits: Limits, device: str, record: dict) -> None:
    dtype = torch.bfloat16
    a, b = (torch.randn(8192, 8192, device=device, dtype=dtype) for _ in range(2))
    taken = []
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    peak = 2 * 8192**3 / min(taken)
    per_second = flops(make_model().config, 10 * RATE) / 10
    chosen = {**options, "precision": "bf16", "device": device}
    waiting(root / "sounds", chosen, limits)  # kernels are chosen in a first pass
    wall, idle = waiting(root / "sounds", chosen, limits)
    speed = seconds / wall
    row = {
        "hours_per_hour": speed,
        "share_of_peak": speed * per_second / peak,
        "waiting": idle,
        "peak": peak,
        "card_hours_of_the_paper": PAPER_HOURS / speed,
    }
    print(f"{torch.cuda.get_device_name()}: {peak / 1e12:.0f} TFLOP/s in its fastest bf16 product")
    print(f"{speed:,.0f} hours an hour, {row['share_of_peak']:.1%} of that; the encoder waited {idle:.1%} of the time")
    print(f"{PAPER_HOURS:,} hours would take {row['card_hours_of_the_paper']:,.0f} hours of the card")
    record["gpu"] = row


def plot(rows: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for precision in ("fp32", "bf16", "bf16-fast"):
        found = [(row["workers"], row["real_time"]) for name, row in rows.items() if name.startswith(f"{precision},")]
        axes.plot(*zip(*found, strict=True), marker="o", label=precision)
    axes.axhline(rows["plain loop"]["real_time"], color="0.5", linestyle="--", label="plain loop, one thread")
    axes.set(xlabel="workers", ylabel="times real time", ylim=(0, None))
    axes.set_xticks(sorted({row["workers"] for row in rows.values()}))
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=8.0, help="of sound")
    arguments.add_argument("--workers", default="1,2")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--batch-seconds", type=float, default=2400.0, help="on a GPU")
    arguments.add_argument("--readers", type=int, default=8, help="on a GPU")
    arguments.add_argument("--plot", type=Path)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    record: dict[str, object] = {"processor": processor(), "torch": torch.__version__, "minutes": options.minutes}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds = make_recordings(root / "sounds", options.minutes)
        parts = save_parts(root)
        if options.device == "cpu":
            limit = fastest_product(torch.float32) / flops(make_model().config, 10 * RATE) * 10
            print(f"{processor()}; torch {torch.__version__}; limit in fp32 {limit:.1f} audio s / CPU s")
            on_cpu(root, parts, seconds, [int(number) for number in options.workers.split(",")], record)
            if options.plot:
                plot(record["rows"], options.plot)
        else:
            limits = Limits(utterances=4096, seconds=options.batch_seconds, readers=options.readers)
            on_gpu(root, parts, seconds, limits, options.device, record)
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
