"""`stlm demo`: corpus, units, shards, text tokenizer, two pretrainings, evaluation, LoRA, samples, report."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stlm.checkpoint import installed_versions
from stlm.config.build import as_plain, build_component
from stlm.config.schema import DemoConfig
from stlm.demo import samples as sampling
from stlm.demo import stages
from stlm.demo.corpus import Corpus, read, recordings, tasks_of, world
from stlm.demo.report import write_report
from stlm.demo.results import DemoResults, Piece, Sample
from stlm.evals import by_tag, score_items
from stlm.interfaces.eval_task import EvalTask
from stlm.lightning.fit import FitReport
from stlm.prepare import Prepared
from stlm.system import SpeechTextLM

WORLD_DISCLAIMER = (
    "A tiny model in a tiny world: a few hundred words, a handful of synthetic voices, minutes of "
    "training on a laptop's processor. It shows that the whole road works and that interleaving joins "
    "reading and listening. It is not a product voice, and its figures say nothing about real speech."
)
REAL_DISCLAIMER = (
    "The whole road on a small folder of real recordings. Minutes of speech teach a model almost nothing: "
    "expect babble, figures near chance and error rates near 100 %. What this shows is that your data go "
    "through; for a model that speaks, bring hundreds of hours."
)


class Clock:
    """Times the stages and says on the terminal which one runs."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        print(f"── {name}", flush=True)
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start


def run_demo(config: DemoConfig) -> Path:
    """Run the road and write ``report.html`` and ``results.json``; returns the directory.

    Raises:
        DataError: the data folder cannot be used.
    """
    out, clock = Path(config.out), Clock()
    out.mkdir(parents=True, exist_ok=True)
    with clock.stage("Corpus"):
        corpus = recordings(config) if config.data else world(config)
    with clock.stage("Units"):
        encoder = stages.train_units(config, corpus, out)
    with clock.stage("Shards"):
        prepared = stages.write_shards(config, corpus, encoder, out)
    with clock.stage("Text tokenizer"):
        text = stages.train_text(config, corpus, out)
    fits: dict[str, FitReport] = {}
    for row in stages.ROWS:
        steps = fits["interleaved"].steps if row != "interleaved" else None
        with clock.stage(f"Pretraining, {row.replace('_', ' ')}"):
            fits[row] = stages.pretrain(config, corpus, encoder, text, out, row, steps=steps)
    systems = {row: stages.load_row(out, row) for row in stages.ROWS}
    with clock.stage("Evaluation"):
        scores = evaluate_rows(tasks_of(config, corpus), systems)
    with clock.stage("LoRA tuning to ASR and TTS"):
        fits["tuned"] = stages.tune(config, out)
    with clock.stage("Samples"):
        rates, heard, sequences = make_samples(config, corpus, systems["interleaved"], stages.load_row(out, "tuned"))
    results = DemoResults(
        title="From speech and text to a model that reads, listens, writes and speaks",
        disclaimer=REAL_DISCLAIMER if corpus.is_real else WORLD_DISCLAIMER,
        facts=header_facts(config, corpus, prepared, systems["interleaved"], fits, clock),
        notes=[*corpus.notes, *rejected_note(prepared, out)],
        cloze=scores.get("cloze", {}),
        other_tasks={task: rows for task, rows in scores.items() if task != "cloze"},
        recognition=rates,
        losses={row: fit.history for row, fit in fits.items()},
        samples=heard,
        sequences=sequences,
        timings=clock.timings,
        details=run_details(config, fits),
    )
    write_report(results, out)
    return out


def evaluate_rows(
    tasks: Mapping[str, EvalTask], systems: Mapping[str, SpeechTextLM]
) -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    """Accuracy by task, row and facet (the direction, or the modality)."""
    found: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    for name, task in tasks.items():
        found[name] = {}
        for row, system in systems.items():
            items = score_items(system, task, label=f"{name}, {row.replace('_', ' ')}")
            tag = "direction" if "direction" in items[0].tags else next(iter(items[0].tags), "all")
            found[name][row] = {value: item.as_dict() for value, item in by_tag(items, tag).items()}
    return found


def make_samples(
    config: DemoConfig, corpus: Corpus, system: SpeechTextLM, tuned: SpeechTextLM
) -> tuple[dict[str, dict[str, float]], list[Sample], list[list[Piece]]]:
    """Error rates of the tuned system, samples to hear, and interleaved sequences."""
    short = read(corpus.held_out, limit=config.num_recognised)
    stories = read(corpus.held_out_stories, limit=max(8, config.num_samples))
    rates, recognised = sampling.recognition(tuned, short)
    policy = build_component("interleaver", corpus.interleaver)
    sequences = []
    for number, utterance in enumerate(stories):
        pieces = sampling.sequence_pieces(system, policy, utterance, number)
        if pieces:
            sequences.append(pieces)
        if len(sequences) == 2:
            break
    told = sampling.continuations(system, tuned, stories[: config.num_samples])
    return rates, [*told, *recognised[: 2 * config.num_samples]], sequences


def header_facts(
    config: DemoConfig,
    corpus: Corpus,
    prepared: Mapping[str, Prepared],
    system: SpeechTextLM,
    fits: Mapping[str, FitReport],
    clock: Clock,
) -> list[tuple[str, str]]:
    """What a reader wants to know first."""
    parameters = sum(parameter.numel() for parameter in system.backbone.parameters())
    fit = fits["interleaved"]
    seen = fit.tokens_seen
    spec = next(iter(system.codec.streams.values()))
    return [
        ("Corpus", str(config.data) if corpus.is_real else "the wind tunnel: a closed world of synthetic English"),
        (
            "Speech",
            f"{prepared['speech'].num_seconds / 60:.0f} minutes, {prepared['speech'].num_utterances:,} utterances",
        ),
        ("Units", f"{spec.codebook_sizes[0]} at {spec.frame_rate_hz:g} Hz ({spec.name})"),
        ("Model", f"{parameters / 1e6:.2f} million parameters, {len(system.codec.format.vocabulary)} ids"),
        (
            "Training",
            f"{fit.steps} steps, {sum(seen.values()):,} tokens a row "
            f"({seen['text']:,} text, {seen['speech']:,} speech)",
        ),
        ("Time", f"{sum(clock.timings.values()) / 60:.1f} minutes on {os.cpu_count()} cores"),
        ("Memory", f"{peak_memory_gb():.2f} GB at most"),
    ]


def peak_memory_gb() -> float:
    """Largest resident size of this process plus that of its largest child."""
    kilobytes = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes / 1e6


def rejected_note(prepared: Mapping[str, Prepared], out: Path) -> list[str]:
    """One note per set of shards from which inputs were left out, wholly or in part."""
    notes = []
    for name, found in prepared.items():
        items = [item for report in found.reports for item in report.rejected]
        if items:
            lost = sum(1 for item in items if not item.get("kept_as"))
            notes.append(
                f"{name}: {lost} inputs could not be used and {len(items) - lost} were used in part; "
                f"the reasons are in shards/{name}/quarantine.jsonl, the first is: {items[0]['reason']}"
            )
    return notes


def run_details(config: DemoConfig, fits: Mapping[str, FitReport]) -> dict[str, Any]:
    """Everything needed to understand or repeat the figures."""
    return {
        "config": as_plain(config),
        "libraries": installed_versions(),
        "python": platform.python_version(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "fits": {row: {"steps": fit.steps, "tokens_seen": dict(fit.tokens_seen)} for row, fit in fits.items()},
    }
