"""Samples for the report: what a listener wants to hear, with a line that says what it should have been."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stlm.audio import audio_of, resample
from stlm.codec import align
from stlm.demo.results import Piece, Sample
from stlm.generate import GenerationOptions
from stlm.interfaces.interleaver import Interleaver
from stlm.learn.error_rates import error_rates, normalize
from stlm.system import SpeechTextLM, anchor_units
from stlm.types import Audio, Document, Marker, SpeechSpan, TextSpan, UnitSpan, Utterance

OWN_ASR = "this model's own ASR"
GREEDY = GenerationOptions(max_new_tokens=60, temperature=0.0)
SAMPLED = GenerationOptions(max_new_tokens=120, temperature=0.7, top_p=0.95)


def transcribe(system: SpeechTextLM | None, batch: Sequence[Audio]) -> list[str]:
    """What a tuned system's ASR writes; audio too short for a unit gives an empty text, and so does no system."""
    if system is None:
        return [""] * len(batch)
    spans = system.encode_batch(list(batch))
    heard = [index for index, span in enumerate(spans) if all(len(units) for units in span.streams.values())]
    prompts: list[Document] = [(Marker(name="[ASR]"), spans[index]) for index in heard]
    written = system.generate_batch(prompts, to="text", options=GREEDY) if prompts else []
    texts = [""] * len(batch)
    for index, document in zip(heard, written, strict=True):
        texts[index] = "".join(span.text for span in document if isinstance(span, TextSpan)).strip()
    return texts


def speak_texts(system: SpeechTextLM, texts: Sequence[str]) -> list[Audio | None]:
    """What a tuned system's TTS says; None where it wrote no unit."""
    prompts: list[Document] = [(Marker(name="[TTS]"), TextSpan(text=text)) for text in texts]
    options = GenerationOptions(max_new_tokens=150, temperature=0.5)
    return [sound_of(system, document) for document in system.generate_batch(prompts, to="speech", options=options)]


def sound_of(system: SpeechTextLM, document: Document) -> Audio | None:
    """The spoken spans of a document, or None if there are none."""
    spans = [span for span in document if isinstance(span, SpeechSpan | UnitSpan)]
    return system.synthesize(tuple(spans)) if spans else None


def recognition(
    system: SpeechTextLM, utterances: Sequence[Utterance]
) -> tuple[dict[str, dict[str, float]], list[Sample]]:
    """Error rates of ASR and of TTS heard by that ASR, and a sample of each for every utterance."""
    usable = [item for item in utterances if normalize(item.text or "") and item.audio is not None]
    if not usable:
        return {}, []
    texts = [utterance.text or "" for utterance in usable]
    original = [audio_of(utterance) for utterance in usable]
    heard = transcribe(system, original)
    spoken = speak_texts(system, texts)
    silence = Audio(samples=np.zeros(0, np.float32), sample_rate=16000)
    judged = transcribe(system, [audio or silence for audio in spoken])
    rates = {"asr": error_rates(heard, texts), "tts": error_rates(judged, texts)}
    samples = []
    for index, utterance in enumerate(usable):
        shared = resynthesised(system, original[index])
        samples.append(
            Sample(
                title="Speech recognition",
                **shared,
                generated_text=heard[index],
                judge=texts[index],
                judge_source="true text",
            )
        )
        samples.append(
            Sample(
                title="Speech synthesis",
                prompt_text=utterance.text or "",
                **shared,
                generation=spoken[index],
                judge=judged[index],
                judge_source=OWN_ASR,
            )
        )
    return rates, samples


def resynthesised(system: SpeechTextLM, audio: Audio) -> dict[str, object]:
    """Original, units and resynthesis of a recording, as fields of a `Sample`."""
    span = system.encode_batch([audio])[0]
    layout = system.codec.format.layout(span.layout)
    units = anchor_units(system.codec, span)
    spoken = system.speak(align(span, layout)) if len(units) else None
    return {"original": resample(audio, 16000), "resynthesis": spoken, "units": units}


def continuations(system: SpeechTextLM, judge: SpeechTextLM | None, utterances: Sequence[Utterance]) -> list[Sample]:
    """Spoken prompts continued in speech and in text, and written prompts continued in speech."""
    samples = []
    for number, utterance in enumerate(utterances):
        audio, text = audio_of(utterance), utterance.text or ""
        middle = len(utterance.words) // 2
        cut = utterance.words[middle].start if middle else audio.num_samples // 2
        given = Audio(samples=audio.samples[:cut], sample_rate=audio.sample_rate)
        said = text[: utterance.words[middle].char_start].strip() if middle else ""
        shared = resynthesised(system, given)
        if not len(shared["units"]):  # type: ignore[arg-type]
            continue
        spoken_prompt = tuple(system.encode_batch([given]))
        options = GenerationOptions(
            max_new_tokens=SAMPLED.max_new_tokens, temperature=SAMPLED.temperature, top_p=SAMPLED.top_p, seed=number
        )
        speech = sound_of(system, system.generate_batch([spoken_prompt], to="speech", options=options)[0])
        line = transcribe(judge, [speech])[0] if speech is not None else ""
        samples.append(
            Sample(
                title="Listens, then speaks",
                prompt_text=said,
                **shared,
                generation=speech,
                judge=line,
                judge_source=OWN_ASR,
            )
        )
        written = system.generate_batch([spoken_prompt], to="text", options=options)[0]
        samples.append(
            Sample(
                title="Listens, then writes",
                prompt_text=said,
                **shared,
                generated_text=" ".join(span.text.strip() for span in written if isinstance(span, TextSpan)),
                judge=text[len(said) :].strip() if said else text,
                judge_source="true text",
            )
        )
        if said:
            spoken = sound_of(system, system.generate_batch([(TextSpan(text=said),)], to="speech", options=options)[0])
            line = transcribe(judge, [spoken])[0] if spoken is not None else ""
            samples.append(
                Sample(
                    title="Reads, then speaks", prompt_text=said, generation=spoken, judge=line, judge_source=OWN_ASR
                )
            )
    return samples


def sequence_pieces(
    system: SpeechTextLM, interleaver: Interleaver, utterance: Utterance, seed: int
) -> list[Piece] | None:
    """An interleaved sequence as the report colours it; None if the policy does not take the utterance."""
    encoded = utterance.with_streams(system.encode_batch([audio_of(utterance)])[0].streams)
    if not interleaver.accepts(encoded):
        return None
    pieces = []
    for span in interleaver.interleave(encoded, np.random.default_rng(seed)):
        if isinstance(span, Marker):
            pieces.append(Piece(modality="marker", shown=span.name))
        elif isinstance(span, TextSpan):
            pieces.append(Piece(modality="text", shown=span.text))
        else:
            layout = system.codec.format.layout(span.layout)
            pieces.append(
                Piece(
                    modality="speech",
                    shown=system.codec.to_string((span,)),
                    words=_words_in(system, utterance, span),
                    audio=system.speak(align(span, layout)) if _is_heard(system, span) else None,
                )
            )
    return pieces


def _is_heard(system: SpeechTextLM, span: SpeechSpan | UnitSpan) -> bool:
    """A word may be shorter than a unit."""
    return bool(len(span if isinstance(span, UnitSpan) else anchor_units(system.codec, span)))


def _words_in(system: SpeechTextLM, utterance: Utterance, span: SpeechSpan | UnitSpan) -> str:
    """The words whose middle lies within a speech span."""
    if isinstance(span, UnitSpan) or utterance.audio is None or not utterance.words:
        return utterance.text or ""
    units = anchor_units(system.codec, span)
    start = units.start / units.spec.frame_rate_hz * utterance.audio.sample_rate
    end = (units.start + len(units)) / units.spec.frame_rate_hz * utterance.audio.sample_rate
    return " ".join(word.text for word in utterance.words if start <= (word.start + word.end) / 2 < end)
