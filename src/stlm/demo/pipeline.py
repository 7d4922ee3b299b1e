"""`stlm demo`: corpus, units, shards, text tokenizer, two pretrainings, evaluation, LoRA, samples, report."""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
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
from stlm.errors import DataError, StlmError
from stlm.evals import by_tag, score_items
from stlm.interfaces.eval_task import EvalTask
from stlm.lightning.fit import FitReport
from stlm.prepare import QUARANTINE, Prepared, all_rejected, count_rejected
from stlm.system import SpeechTextLM
from stlm.types import Rejected, StreamSpec

Scores = dict[str, dict[str, dict[str, dict[str, object]]]]

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
        self.notes: list[str] = []
        self.defect: Exception | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        print(f"── {name}", flush=True)
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """What the report can do without: training was paid for, so an error becomes a note.

        One that is our own defect is kept, to be raised once the report is written.
        """
        try:
            yield
        except Exception as error:
            self.notes.append(f"{name} could not be done: {str(error) or type(error).__name__}")
            print(f"   {self.notes[-1]}", file=sys.stderr, flush=True)
            if not isinstance(error, StlmError):
                self.defect = self.defect or error


def run_demo(config: DemoConfig) -> Path:
    """Run the road and write ``report.html`` and ``results.json``; returns the directory.

    Raises:
        DataError: the data folder cannot be used.
    """
    out, clock = Path(config.out), Clock()
    out.mkdir(parents=True, exist_ok=True)
    with clock.stage("Corpus"):
        corpus = recordings(config) if config.data else world(config)
        write_quarantine(corpus.rejected, out)
    with clock.stage("Units"):
        parts = stages.speech_parts(config, corpus, out)
    with clock.stage("Shards"):
        prepared = stages.write_shards(config, corpus, parts, out)
    with clock.stage("Text tokenizer"):
        text = stages.train_text(config, corpus, out)
    fits: dict[str, FitReport] = {}
    for row in stages.ROWS:
        steps = fits["interleaved"].steps if row != "interleaved" else None
        with clock.stage(f"Pretraining, {row.replace('_', ' ')}"):
            fits[row] = stages.pretrain(config, corpus, parts, text, out, row, steps=steps)
    systems = {row: stages.load_row(out, row) for row in stages.ROWS}
    scores: Scores = {}
    with clock.stage("Evaluation"), clock.attempt("Evaluation"):
        for name, task in tasks_of(config, corpus).items():
            with clock.attempt(f"Evaluation on {name}"):
                scores[name] = evaluate_rows(name, task, systems)
    tuned = None
    with clock.stage("LoRA tuning to ASR and TTS"), clock.attempt("LoRA tuning to ASR and TTS"):
        fits["tuned"] = stages.tune(config, out)
        tuned = stages.load_row(out, "tuned")
    with clock.stage("Samples"):
        rates, heard, sequences = make_samples(config, corpus, systems["interleaved"], tuned, clock)
    results = DemoResults(
        title="From speech and text to a model that reads, listens, writes and speaks",
        disclaimer=REAL_DISCLAIMER if corpus.is_real else WORLD_DISCLAIMER,
        facts=header_facts(config, corpus, prepared, systems["interleaved"], fits, clock),
        notes=[*clock.notes, *corpus.notes, *rejected_notes(corpus, prepared)],
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
    if clock.defect is not None:
        raise clock.defect
    return out


def evaluate_rows(
    name: str, task: EvalTask, systems: Mapping[str, SpeechTextLM]
) -> dict[str, dict[str, dict[str, object]]]:
    """Accuracy on a task by row and facet (the direction, or the modality).

    Raises:
        DataError: the task has no items, or none that can be scored.
    """
    found: dict[str, dict[str, dict[str, object]]] = {}
    for row, system in systems.items():
        items = score_items(system, task, label=f"{name}, {row.replace('_', ' ')}")
        tag = "direction" if "direction" in items[0].tags else next(iter(items[0].tags), "all")
        found[row] = {value: item.as_dict() for value, item in by_tag(items, tag).items()}
        if not found[row]:
            raise DataError("no pair of recordings can be compared: their halves are too short for a unit")
    return found


def make_samples(
    config: DemoConfig, corpus: Corpus, system: SpeechTextLM, tuned: SpeechTextLM | None, clock: Clock
) -> tuple[dict[str, dict[str, float]], list[Sample], list[list[Piece]]]:
    """Error rates of the tuned system, samples to hear, and interleaved sequences; without it what remains."""
    rates: dict[str, dict[str, float]] = {}
    told: list[Sample] = []
    recognised: list[Sample] = []
    sequences: list[list[Piece]] = []
    short = read(corpus.held_out, limit=config.num_recognised)
    stories = read(corpus.held_out_stories, limit=max(8, config.num_samples))
    if tuned is not None:
        with clock.attempt("Recognition"):
            rates, recognised = sampling.recognition(tuned, short)
    with clock.attempt("Interleaved sequences"):
        policy = build_component("interleaver", corpus.interleaver)
        for number, utterance in enumerate(stories):
            pieces = sampling.sequence_pieces(system, policy, utterance, number)
            if pieces:
                sequences.append(pieces)
            if len(sequences) == 2:
                break
    with clock.attempt("Continuations"):
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
    units = [f"{spec.codebook_sizes[0]} at {spec.frame_rate_hz:g} Hz ({name})" for name, spec in _streams(system)]
    return [
        ("Corpus", str(config.data) if corpus.is_real else "the wind tunnel: a closed world of synthetic English"),
        (
            "Speech",
            f"{prepared['speech'].num_seconds / 60:.0f} minutes, {prepared['speech'].num_utterances:,} utterances",
        ),
        ("Units", ", ".join(units)),
        ("Model", f"{parameters / 1e6:.2f} million parameters, {len(system.codec.format.vocabulary)} ids"),
        (
            "Training",
            f"{fit.steps} steps, {sum(seen.values()):,} tokens a row "
            f"({seen['text']:,} text, {seen['speech']:,} speech)",
        ),
        ("Time", f"{sum(clock.timings.values()) / 60:.1f} minutes on {os.cpu_count()} cores"),
        ("Memory", f"{peak_memory_gb():.2f} GB at most"),
    ]


def _streams(system: SpeechTextLM) -> list[tuple[str, StreamSpec]]:
    return list(system.codec.streams.items())


def peak_memory_gb() -> float:
    """Largest resident size of this process plus that of its largest child."""
    kilobytes = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes / 1e6


def write_quarantine(rejected: Sequence[Rejected], out: Path) -> None:
    """What the corpus could not use, one JSON object a line; no file if there is nothing."""
    target = out / QUARANTINE
    target.unlink(missing_ok=True)
    if rejected:
        target.write_text("".join(json.dumps(asdict(item)) + "\n" for item in rejected))


def rejected_notes(corpus: Corpus, prepared: Mapping[str, Prepared]) -> list[str]:
    """One note per list of inputs that were left out, wholly or in part."""
    lists = {QUARANTINE: [asdict(item) for item in corpus.rejected]}
    known = {(item.id, item.reason) for item in corpus.rejected}
    for name, found in prepared.items():
        items = [item for item in all_rejected(found.reports) if (item["id"], item["reason"]) not in known]
        lists[f"shards/{name}/{QUARANTINE}"] = items
    notes = []
    for path, items in lists.items():
        if items:
            lost, in_part = count_rejected(items)
            notes.append(
                f"{lost} inputs could not be used and {in_part} were used in part; the reasons are in {path}, "
                f"the first is: {items[0]['reason']}"
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
