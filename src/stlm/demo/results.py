"""What a demo run found: the one value that report.html and results.json are both made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stlm.types import Audio, Units


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of an interleaved sequence as the report colours it.

    Args:
        modality: "text", "speech" or "marker".
        shown: the text, or the unit symbols, or the marker's name.
        words: the words spoken, for speech.
        audio: the sound of the stretch, for speech.
    """

    modality: str
    shown: str
    words: str = ""
    audio: Audio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One example from original to generation; what does not apply is None.

    Args:
        title: "Speech continuation", "ASR", …
        prompt_text: true text of what was given.
        original: the recording, or the spoken prompt.
        resynthesis: the original through encode and decode, without the language model.
        generation: what the model said.
        generated_text: what the model wrote.
        judge: a line about the generation: a recogniser's transcript, or the true text to compare with.
        judge_source: who said that line ("this model's own ASR", "true text").
        units: units of the original, drawn over its spectrogram.
    """

    title: str
    prompt_text: str = ""
    original: Audio | None = None
    resynthesis: Audio | None = None
    generation: Audio | None = None
    generated_text: str = ""
    judge: str = ""
    judge_source: str = ""
    units: Units | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResults:
    """Everything that the report shows.

    Args:
        title: heading.
        disclaimer: what this is and is not, in a sentence or two.
        facts: label and value pairs for the header: corpus, model, machine, time, memory.
        notes: remarks such as what was missing in the data and what would mend it.
        cloze: row ("interleaved", "no_interleaving") to direction ("T->T") to
            ``{"accuracy", "ci95": [lo, hi], "n", "items"}`` in per cent.
        other_tasks: task to row to facet to the same.
        recognition: "asr" and "tts" to ``{"wer", "cer", "n"}`` in per cent, after LoRA tuning.
        losses: row to a list of ``{"step", "tokens", "seconds", "loss", "loss_<block>": …}``.
        samples: examples with sound.
        sequences: interleaved sequences to colour.
        timings: stage to seconds, in order.
        details: anything else for results.json (configuration, versions, counts).
    """

    title: str
    disclaimer: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = ()
    cloze: Mapping[str, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)
    other_tasks: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]] = field(default_factory=dict)
    recognition: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    losses: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    sequences: Sequence[Sequence[Piece]] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
