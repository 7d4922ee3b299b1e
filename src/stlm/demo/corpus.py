"""What the demo learns from: the wind tunnel, or a folder of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stlm.config.build import absolute, build_component
from stlm.config.schema import DemoConfig
from stlm.interfaces.eval_task import EvalTask
from stlm.interfaces.source import Source
from stlm.types import Rejected, Utterance

Options = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Sources by use, as component options.

    Args:
        speech: utterances for speech-only and interleaved documents.
        text: utterances whose text makes text-only documents.
        tuning: short utterances for ASR and TTS.
        held_out: like `tuning`, never trained on.
        held_out_stories: like `speech`, never trained on.
        is_real: recordings of people.
        interleaver: the policy of the interleaved third.
        notes: what was missing and what would mend it.
    """

    speech: Options
    text: Options
    tuning: Options
    held_out: Options
    held_out_stories: Options
    is_real: bool
    interleaver: Options
    notes: Sequence[str] = field(default_factory=tuple)


def world(config: DemoConfig) -> Corpus:
    """The wind tunnel's corpora; training and held-out stories are disjoint by construction."""
    base = {**config.source, "seed": config.seed}
    stories = {**base, "kind": "stories", "modality": "speech", "num": config.speech_stories, "split": "train"}
    sentences = {**base, "kind": "sentences", "modality": "speech", "num": config.tuning_sentences, "split": "train"}
    return Corpus(
        speech=stories,
        text={**stories, "modality": "text", "num": config.text_stories, "first": 10_000_000},
        tuning=sentences,
        held_out={**sentences, "num": config.num_recognised, "split": "test"},
        held_out_stories={**stories, "num": max(8, config.num_samples), "split": "test"},
        is_real=False,
        interleaver=dict(config.interleaver),
    )


def recordings(config: DemoConfig) -> Corpus:
    """A folder of recordings; every tenth is held out."""
    base = {"name": "folder", "path": absolute(str(config.data))}
    train, test = {**base, "part": "train"}, {**base, "part": "test"}
    found = read(train, limit=200)
    timed = sum(1 for utterance in found if utterance.words)
    notes = [
        "There are minutes of speech here, not hundreds of hours: the road runs to its end, no accuracy is promised.",
    ]
    interleaver = dict(config.interleaver)
    if not timed:
        interleaver = {"name": "parallel", "task": "both", "prompt_loss": True}
        notes.append(
            "No word times were found, so modality cannot change at word boundaries: the speech+text third uses whole "
            "utterances in both modalities instead. Word times in manifest.jsonl ('words': [{word, start, end}], in "
            "seconds) bring interleaving; an aligner plugin (hook stlm_aligners) can make them, and none is installed."
        )
    elif timed < len(found):
        notes.append(
            f"{len(found) - timed} of the first {len(found)} recordings have no word times and are not interleaved."
        )
    return Corpus(
        speech=train,
        text=train,
        tuning=train,
        held_out=test,
        held_out_stories=test,
        is_real=True,
        interleaver=interleaver,
        notes=tuple(notes),
    )


def read(options: Options, *, limit: int) -> list[Utterance]:
    """The first usable utterances of a source."""
    source: Source = build_component("source", options)
    found: list[Utterance] = []
    for item in source.utterances():
        if not isinstance(item, Rejected):
            found.append(item)
        if len(found) >= limit:
            break
    return found


def tasks_of(config: DemoConfig, corpus: Corpus) -> dict[str, EvalTask]:
    """Evaluation tasks; "cloze" is the headline."""
    if not corpus.is_real:
        return {name: build_component("eval_task", options) for name, options in config.tasks.items()}
    from stlm.evals.tasks import MirroredContinuation

    return {"cloze": MirroredContinuation(read(corpus.held_out_stories, limit=400))}
