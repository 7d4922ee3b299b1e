"""What the demo learns from: the wind tunnel, or a folder of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tqdm import tqdm

from stlm.audio import read_audio
from stlm.config.build import absolute, build_component, usable
from stlm.config.schema import DemoConfig
from stlm.errors import DataError, StlmError
from stlm.interfaces.eval_task import EvalTask
from stlm.interfaces.source import Source
from stlm.plugin import default_registry
from stlm.types import AudioRef, Rejected, Utterance

Options = dict[str, Any]
SHORTEST_SECONDS = 0.1
HELD_OUT, FEWEST = 2, 3
"""Two recordings make the pair that evaluation compares; one more is there to learn from."""


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
        rejected: recordings that could not be used, or only in part.
    """

    speech: Options
    text: Options
    tuning: Options
    held_out: Options
    held_out_stories: Options
    is_real: bool
    interleaver: Options
    notes: Sequence[str] = field(default_factory=tuple)
    rejected: Sequence[Rejected] = field(default_factory=tuple)


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
    """A folder of recordings; every tenth is held out, and two at least. All of them are opened before any work.

    Raises:
        DataError: fewer than three can be used, or none of those to learn from has a transcript.
    """
    source = {"name": "folder", "path": absolute(str(config.data))}
    found, rejected = survey(source)
    first = f"; the first note: {rejected[0].reason}" if rejected else ""
    if len(found) < FEWEST:
        raise DataError(
            f"{config.data}: {len(found)} usable recordings, the demo needs at least {FEWEST}, of which it holds out "
            f"{HELD_OUT}{first}"
        )
    lost = sorted({item.uri for item in rejected if item.uri and not item.kept_as})
    base = {**source, "skip": lost, "parts": min(10, len(found) - 1)}
    train, test = {**base, "part": "train"}, {**base, "part": "test"}
    learned = read(train, limit=len(found))
    if not any(utterance.text for utterance in learned):
        raise DataError(
            f"{config.data}: none of the {len(learned)} recordings to learn from has a transcript, and the demo learns "
            "to read and write: put the words of a.wav into a.txt beside it, or 'text' into its line of "
            f"manifest.jsonl{first}"
        )
    timed = sum(1 for utterance in learned if utterance.words)
    notes = [
        "There are minutes of speech here, not hundreds of hours: the road runs to its end, no accuracy is promised.",
    ]
    interleaver = dict(config.interleaver)
    if not timed:
        interleaver = {"name": "parallel", "task": "both", "prompt_loss": True}
        notes.append(
            "No word times were found, so modality cannot change at word boundaries: the speech+text third uses whole "
            "utterances in both modalities instead. Word times in manifest.jsonl ('words': [{word, start, end}], in "
            f"seconds) bring interleaving; an aligner plugin (hook stlm_aligners) can make them, {_aligners()}."
        )
    elif timed < len(learned):
        notes.append(
            f"{len(learned) - timed} of the {len(learned)} recordings to learn from have no word times and are not "
            "interleaved."
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
        rejected=tuple(rejected),
    )


def survey(options: Options) -> tuple[list[Utterance], list[Rejected]]:
    """The recordings that can be read and are long enough, and what is wrong with the others."""
    source: Source = build_component("source", options)
    found: list[Utterance] = []
    rejected: list[Rejected] = []
    for item in tqdm(source.utterances(), desc="open", unit="recording"):
        if isinstance(item, Rejected):
            rejected.append(item)
        elif reason := _fault(item):
            rejected.append(Rejected(id=item.id, uri=getattr(item.audio, "uri", None), reason=reason))
        else:
            found.append(item)
    return found, rejected


def _fault(utterance: Utterance) -> str | None:
    """Why its sound cannot be used; None if it can."""
    try:
        audio = read_audio(utterance.audio) if isinstance(utterance.audio, AudioRef) else utterance.audio
    except StlmError as error:
        return str(error)
    if audio is None or audio.seconds < SHORTEST_SECONDS:
        seconds = audio.seconds if audio else 0.0
        return f"{utterance.id}: {seconds:.3f} s of audio, expected at least {SHORTEST_SECONDS} s"
    return None


def _aligners() -> str:
    names = [f"{owned.dist}/{owned.component.name}" for owned in default_registry().components("aligner")]
    return f"installed: {', '.join(names)}" if names else "and none is installed"


def read(options: Options, *, limit: int) -> list[Utterance]:
    """The first usable utterances of a source."""
    return list(islice(usable(build_component("source", options)), max(1, limit)))


def tasks_of(config: DemoConfig, corpus: Corpus) -> dict[str, EvalTask]:
    """Evaluation tasks; "cloze" is the headline."""
    if not corpus.is_real:
        return {name: build_component("eval_task", options) for name, options in config.tasks.items()}
    from stlm.evals.tasks import MirroredContinuation

    return {"cloze": MirroredContinuation(read(corpus.held_out_stories, limit=400))}
