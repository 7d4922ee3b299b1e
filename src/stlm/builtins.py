"""The core's own components, declared through the same hooks that plugins use."""

from __future__ import annotations

from collections.abc import Sequence

from stlm.plugin import Component, hookimpl


def _component(name: str, module: str, summary: str) -> Component:
    return Component(name=name, factory=f"{module}:build", config=f"{module}:Config", summary=summary)


@hookimpl
def stlm_interleavers() -> Sequence[Component]:
    return [
        _component("word_spans", "stlm.interleave.word_spans", "text and speech alternate at random word boundaries"),
        _component("unimodal", "stlm.interleave.unimodal", "speech only or text only"),
        _component("word_transcript", "stlm.interleave.word_transcript", "each word in both modalities"),
        _component("parallel", "stlm.interleave.parallel", "[ASR] or [TTS]: the whole utterance in both modalities"),
        _component("sentence", "stlm.interleave.sentence", "whole sentences in text or in speech"),
    ]


@hookimpl
def stlm_sources() -> Sequence[Component]:
    corpora = {
        "librispeech": "LibriSpeech as it is unpacked",
        "ljspeech": "LJSpeech as it is unpacked",
        "mls": "one language of Multilingual LibriSpeech as it is unpacked",
        "common_voice": "one language of Common Voice as it is unpacked",
        "voxpopuli": "one language of VoxPopuli's transcribed part as it is unpacked",
    }
    module = "stlm.prepare.corpora"
    return [
        _component("folder", "stlm.prepare.folder", "audio with .txt beside it, or a manifest.jsonl"),
        _component("text", "stlm.prepare.texts", "text alone: .txt, .jsonl or .parquet"),
        _component("webdataset", "stlm.prepare.webdataset", "tars of WebDataset: audio, .txt and .json of one name"),
        _component("slamkit", "stlm.prepare.slamkit", "units, durations and aligned text that SlamKit extracted"),
        _component("expresso", "stlm.prepare.expresso", "Expresso as it is unpacked: styles, a speaker a channel"),
        _component("fisher", "stlm.prepare.fisher", "telephone conversations as in Fisher: an utterance a turn"),
        *(
            Component(name=name, factory=f"{module}:{name}", config=f"{module}:Config", summary=summary)
            for name, summary in corpora.items()
        ),
    ]


@hookimpl
def stlm_stages() -> Sequence[Component]:
    module = "stlm.prepare.stages"
    return [
        Component(
            name="edit_text",
            factory=f"{module}:build_edit_text",
            config=f"{module}:EditTextConfig",
            summary="takes marks out of transcripts by regular expressions",
        ),
        Component(
            name="align",
            factory=f"{module}:build_align",
            config=f"{module}:AlignConfig",
            summary="word times by an aligner, where a source brings none",
        ),
        Component(
            name="check_words",
            factory=f"{module}:build_check_words",
            config=f"{module}:CheckWordsConfig",
            summary="takes word times away that cannot be right, and says why",
        ),
    ]


@hookimpl
def stlm_runners() -> Sequence[Component]:
    return [_component("local", "stlm.prepare.local", "processes on this machine")]
