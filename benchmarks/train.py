"""Training speed beside the Hugging Face Trainer and beside a bare loop: real tokens per second of processor time.

    python benchmarks/train.py [--steps 40] [--rounds 3] [--threads 2] [--precision fp32,bf16] [--device cuda]
                               [--model 1b --length 4096 --rows 8] [--lora 16] [--recompute] [--ways stlm,bare loop]
                               [--plot FILE.svg] [--json FILE]

On a CPU: the wind tunnel's stories, spoken and written (units of the shipped tiny HuBERT), a third each of speech, text
and interleaved, and a tiny Llama. Four ways to train it, all with AdamW, clipping and one schedule:

- ``Trainer``: transformers' own, batches of documents in random order, padded to the longest;
- ``Trainer, by length``: the same with documents of like length together;
- ``bare loop``: rows that were packed before, the same model, loss and optimizer, nothing else;
- ``stlm``: `stlm.lightning.fit.fit` as users run it: reading shards, interleaving, encoding, packing, Lightning, logs.

The first two get documents that are encoded already. A batch holds as many real tokens in each. Time is counted after
the first steps, of all threads of the process, in rounds that take turns. The limit is arithmetic: 6 operations for
each weight and token, and attention within documents, at the pace of this processor's fastest matrix product.
On a GPU wall time counts; beside tokens per second stand memory and MFU (`stlm.lightning.throughput`).
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import Trainer, TrainerCallback, TrainingArguments

from stlm.codec import Codec
from stlm.config.build import build_data, build_format, build_optimizer
from stlm.config.schema import FeedConfig, MixtureSource
from stlm.feed import PackedDataset
from stlm.interfaces import BackboneLM, LoraOptions, PackedBatch
from stlm.learn.machine import keep_freed_memory
from stlm.lightning.data import FeedDataModule
from stlm.lightning.fit import FitOptions, fit
from stlm.lightning.loss import token_losses
from stlm.lightning.schedule import Schedule
from stlm.lightning.throughput import attainable, attention_pairs, peak_of, step_cost
from stlm.parts import open_parts
from stlm.plugin import Choice, default_registry
from stlm.prepare import LocalRunner, ShardTask, prepare
from stlm.system import SpeechTextLM

WARM_UP = 5
OPTIMIZER = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "betas": [0.9, 0.98], "weight_decay": 0.1}
MODELS = {
    "tiny": {"hidden_size": 256, "num_layers": 6, "num_heads": 4, "intermediate_size": 704},
    "1b": {"hidden_size": 2048, "num_layers": 16, "num_heads": 32, "intermediate_size": 8192, "tie_embeddings": False},
    "7b": {"hidden_size": 4096, "num_layers": 32, "num_heads": 32, "intermediate_size": 11008, "tie_embeddings": False},
}
WAYS = ("Trainer", "Trainer, by length", "bare loop", "stlm")


@dataclass
class Meter:
    """Time and real tokens after the warm-up.

    Args:
        device: on a CPU processor time counts, on a GPU wall time.
    """

    device: torch.device
    steps: int = 0
    tokens: int = 0
    places: int = 0
    pairs: int = 0
    start: float = 0.0
    seconds: float = 0.0
    memory: int = 0

    def clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def batch(self, tokens: int, places: int, pairs: int = 0) -> None:
        """Called with each batch before its step."""
        if self.steps == WARM_UP:
            self.start = self.clock()
            self.tokens = self.places = self.pairs = 0
        self.steps += 1
        self.tokens += tokens
        self.places += places
        self.pairs += pairs

    def end(self) -> None:
        self.seconds = self.clock() - self.start
        self.memory = torch.cuda.max_memory_allocated() if self.device.type == "cuda" else 0


@dataclass(frozen=True)
class Bench:
    """What all ways share."""

    system: SpeechTextLM
    data: Callable[[], FeedDataModule]
    model: Mapping[str, Any]
    device: torch.device
    steps: int
    bf16: bool
    folder: Path
    lora: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def backbone(self) -> BackboneLM:
        size = {"vocab_size": len(self.system.codec.format.vocabulary), **self.model}
        backbone = default_registry().build("backbone", "llama", size).to(self.device)
        if self.lora:
            backbone = backbone.to(torch.bfloat16 if self.bf16 else torch.float32)
            backbone.add_lora(LoraOptions(rank=self.lora))
        return backbone

    def batches(self) -> list[PackedBatch]:
        """Packed ahead of time."""
        data = self.data()
        return list(islice(iter(PackedDataset(data.sources, data.codec, data.options)), self.steps))


def documents_of(batches: Sequence[PackedBatch]) -> list[dict[str, list[int]]]:
    """The documents of packed batches, in their order, as the Trainer's dataset."""
    found = []
    for batch in batches:
        ids, segments = batch.ids.flatten(), batch.segments.flatten()
        bounds = batch.document_bounds().tolist()
        found += [{"input_ids": ids[start:end].tolist()} for start, end in pairwise(bounds) if segments[start] > 0]
    return found


class Collator:
    """Pads to the longest, as `DataCollatorForLanguageModeling` does, and tells the meter."""

    def __init__(self, pad: int, meter: Meter) -> None:
        self.pad, self.meter = pad, meter

    def __call__(self, documents: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
        rows = [torch.tensor(document["input_ids"]) for document in documents]
        longest = max(map(len, rows))
        ids = torch.stack([functional.pad(row, (0, longest - len(row)), value=self.pad) for row in rows])
        mask = torch.stack([functional.pad(torch.ones_like(row), (0, longest - len(row))) for row in rows])
        self.meter.batch(int(mask.sum()), mask.numel())
        return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


class TrainerEnd(TrainerCallback):
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.meter.end()


def hugging_face(bench: Bench, meter: Meter, *, by_length: bool) -> None:
    batches = bench.batches()
    documents = documents_of(batches)
    backbone = bench.backbone()
    backbone.model.set_attn_implementation("sdpa")  # pyright: ignore
    backbone.model.config.use_cache = False  # pyright: ignore
    model = backbone.adapter or backbone.model  # pyright: ignore[reportAttributeAccessIssue]
    arguments = TrainingArguments(
        output_dir=str(bench.folder / "trainer"),
        per_device_train_batch_size=max(1, round(len(documents) / len(batches))),
        max_steps=bench.steps,
        train_sampling_strategy="group_by_length" if by_length else "random",
        learning_rate=1e-3,
        weight_decay=0.1,
        warmup_steps=10,
        max_grad_norm=1.0,
        optim="adamw_torch",
        bf16=bench.bf16,
        gradient_checkpointing=bool(bench.options.get("activation_checkpointing")),
        use_cpu=bench.device.type == "cpu",
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=0,
    )
    collator = Collator(bench.system.codec.format.pad or 0, meter)
    Trainer(
        model=model, args=arguments, train_dataset=documents, data_collator=collator, callbacks=[TrainerEnd(meter)]
    ).train()  # pyright: ignore[reportArgumentType]


def bare_loop(bench: Bench, meter: Meter) -> None:
    batches = [batch.to(bench.device) for batch in bench.batches()]
    backbone = bench.backbone().train()
    for layer in backbone.layers() if bench.options.get("activation_checkpointing") else ():
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    optimizer = build_optimizer(OPTIMIZER)(backbone)
    schedule = Schedule(warmup_steps=10, total_steps=bench.steps)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.factor)
    for batch in batches:
        meter.batch(batch.num_tokens, batch.ids.numel(), int(attention_pairs(batch)))
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
            losses, _ = token_losses(backbone, backbone(batch).last, batch.labels)  # pyright: ignore
            loss = losses.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
    meter.end()


class Timed(pl.Callback):
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: PackedBatch, _: int) -> None:
        self.meter.batch(batch.num_tokens, batch.ids.numel(), int(attention_pairs(batch)))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.meter.end()


def stlm_fit(bench: Bench, meter: Meter) -> None:
    system = SpeechTextLM(bench.system.codec, {}, bench.backbone())
    options = FitOptions(
        max_steps=bench.steps,
        precision="bf16-mixed" if bench.bf16 else "32-true",
        accelerator="gpu" if bench.device.type == "cuda" else "cpu",
        checkpoint_every=10**9,
        progress=False,
        overwrite=True,
        **bench.options,
    )
    schedule = Schedule(warmup_steps=10, total_steps=bench.steps)
    timed = [Timed(meter)]
    fit(system, bench.data(), build_optimizer(OPTIMIZER), schedule, options, bench.folder / "stlm", callbacks=timed)


RUNS: dict[str, Callable[[Bench, Meter], None]] = {
    "Trainer": partial(hugging_face, by_length=False),
    "Trainer, by length": partial(hugging_face, by_length=True),
    "bare loop": bare_loop,
    "stlm": stlm_fit,
}


def prepare_corpus(root: Path, stories: int) -> tuple[Codec, dict[str, MixtureSource]]:
    """Shards of the wind tunnel with units of the shipped tiny HuBERT, and the mixture of thirds."""
    registry = default_registry()
    parts = open_parts("tiny-base")
    encoders = {name.removeprefix("encoders/"): part for name, part in parts.parts.items() if "encoders/" in name}
    for kind, options, unit_encoders in (
        ("speech", {"num": stories, "style": "random"}, tuple(encoders.values())),
        ("text", {"num": 2 * stories, "modality": "text"}, ()),
    ):
        source = Choice(name="windtunnel", options={"kind": "stories", **options})
        task = ShardTask(source=source, encoders=unit_encoders, out=root / kind, shard=0, num_shards=2, group_size=32)
        prepare(task, LocalRunner(num_workers=1))
    text_part = parts.parts["text"]
    text = registry.build("unit_encoder", text_part.name, text_part.options)
    specs = {name: registry.build("unit_encoder", part.name, part.options).spec for name, part in encoders.items()}
    codec = Codec(build_format(parts.format.as_dict(), text, specs), text, specs)
    speech, spans = str(root / "speech"), {"name": "word_spans", "text_words": [3, 8], "speech_words": [3, 8]}
    return codec, {
        "speech": MixtureSource(shards=speech, interleaver={"name": "unimodal", "modality": "speech"}),
        "text": MixtureSource(shards=str(root / "text"), interleaver={"name": "unimodal", "modality": "text"}),
        "interleaved": MixtureSource(shards=speech, interleaver=spans),
    }


def measure(bench: Bench, ways: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Of each way: tokens a second (the middle of all rounds), all rounds, share of padding; on a GPU also memory."""
    found: dict[str, list[Meter]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            meter = Meter(bench.device)
            if bench.device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            RUNS[way](bench, meter)
            found[way].append(meter)
            print(f"  round {number + 1}, {way}: {meter.tokens / meter.seconds:,.0f} tokens/s", flush=True)
    result = {way: summary(meters) for way, meters in found.items()}
    dtype = torch.bfloat16 if bench.bf16 else torch.float32
    if "bare loop" in found:
        meter, cost = found["bare loop"][0], step_cost(bench.backbone())
        per_token = cost.of(meter.tokens, meter.pairs) / meter.tokens
        pace = attainable(bench.device, dtype, 8192 if bench.device.type == "cuda" else 768)
        result["limit"] = {"tokens_per_second": pace / per_token}
        for values in result.values():
            speed = values["tokens_per_second"] * per_token
            values |= {"tflops": speed / 1e12, "share_of_attainable": speed / pace}
            if peak := peak_of(bench.device):
                values["mfu"] = speed / peak
    return result


def summary(meters: Sequence[Meter]) -> dict[str, Any]:
    """One way's figures."""
    rates = sorted(meter.tokens / meter.seconds for meter in meters)
    padding = 1 - sum(meter.tokens for meter in meters) / sum(meter.places for meter in meters)
    memory = max(meter.memory for meter in meters)
    values = {"tokens_per_second": rates[len(rates) // 2], "rounds": rates, "padding": padding}
    return {**values, **({"memory_gib": memory / 2**30} if memory else {})}


def ratios(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """What is asked: against the padded Trainer, its share of padding made good; against lengths; against the loop."""
    if any(way not in found for way in WAYS):
        return {}
    ours, padded = found["stlm"]["tokens_per_second"], found["Trainer"]
    return {
        "stlm / Trainer": ours / padded["tokens_per_second"],
        "asked: 0.95 / (1 - padding)": 0.95 / (1 - padded["padding"]),
        "stlm / Trainer by length": ours / found["Trainer, by length"]["tokens_per_second"],
        "stlm / bare loop": ours / found["bare loop"]["tokens_per_second"],
    }


def draw(found: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """Bars of tokens a second for each precision, the limit as a line."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4.4 * len(found), 2.6), layout="constrained", squeeze=False)
    for axis, (precision, ways) in zip(axes[0], found.items(), strict=True):
        shown = [way for way in WAYS if way in ways]
        rates = [ways[way]["tokens_per_second"] for way in shown]
        bars = axis.barh(shown, rates, color=["#2f6fdd" if way == "stlm" else "#9aa5b5" for way in shown])
        axis.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3, fontsize=8)
        axis.axvline(ways["limit"]["tokens_per_second"], color="#c0392b", linestyle="--", linewidth=1)
        axis.set(title=precision, xlabel="real tokens per CPU second (dashed: limit)", xlim=(0, None))
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("steps", 40), ("rounds", 3), ("threads", 2), ("length", 512), ("rows", 4), ("stories", 150)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--precision", default="fp32,bf16")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--model", choices=MODELS, default="tiny")
    arguments.add_argument("--lora", type=int, default=0, help="rank of adapters; 0: full tuning")
    arguments.add_argument("--recompute", action="store_true", help="activation checkpointing")
    arguments.add_argument("--ways", default=",".join(WAYS).replace("Trainer, by", "Trainer; by"), help="which to run")
    arguments.add_argument("--plot", type=Path)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    device = torch.device(given.device)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        codec, mixture = prepare_corpus(root, given.stories)
        feed = FeedConfig(length=given.length, rows=given.rows)
        bench = Bench(
            system=SpeechTextLM(codec, {}, None),  # pyright: ignore[reportArgumentType]
            data=partial(build_data, mixture, feed, codec, seed=0),
            model={**MODELS[given.model], "max_positions": given.length},
            device=device,
            steps=given.steps + WARM_UP,
            bf16=False,
            folder=root,
            lora=given.lora,
            options={"activation_checkpointing": given.recompute},
        )
        ways = [way for way in WAYS if way.replace(",", ";") in given.ways.split(",")]
        for precision in given.precision.split(","):
            print(precision, flush=True)
            found = measure(replace(bench, bf16=precision == "bf16"), ways, given.rounds)
            results[precision] = found
            for way, values in found.items():
                more = {name: value for name, value in values.items() if name not in ("tokens_per_second", "rounds")}
                told = ", ".join(f"{name} {value:.3g}" for name, value in more.items())
                print(f"  {way:<20} {values['tokens_per_second']:>9,.0f} tokens/s  {told}")
            for name, value in ratios(found).items():
                print(f"  {name:<28} {value:.3f}")
    if given.plot:
        draw(results, given.plot)
    if given.json:
        machine = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
        machine |= {"threads": given.threads, "capability": torch.backends.cpu.get_cpu_capability()}
        peak = peak_of(device)
        record = {"results": results, "ratios": {name: ratios(found) for name, found in results.items()}}
        given.json.write_text(json.dumps({**record, **machine, "peak": peak}, indent=2) + "\n")


if __name__ == "__main__":
    main()
