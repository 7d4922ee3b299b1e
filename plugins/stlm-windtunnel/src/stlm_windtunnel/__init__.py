"""A closed little world of spoken English: a corpus and evaluation tasks, deterministic by seed."""

from __future__ import annotations

from collections.abc import Sequence

from stlm.plugin import Component, hookimpl

_TASKS = {
    "windtunnel_cloze": "topic story-cloze in mirrored pairs, in four directions between text and speech",
    "windtunnel_wuggy": "words against non-words, written and spoken",
    "windtunnel_blimp": "grammatical against ungrammatical sentences, written and spoken",
}


@hookimpl
def stlm_sources() -> Sequence[Component]:
    return [
        Component(
            name="windtunnel",
            factory="stlm_windtunnel.source:build",
            config="stlm_windtunnel.source:Config",
            summary="stories and sentences of a seeded grammar, spoken by espeak-ng with exact word times",
        )
    ]


@hookimpl
def stlm_eval_tasks() -> Sequence[Component]:
    return [
        Component(
            name=name,
            factory=f"stlm_windtunnel.{name.removeprefix('windtunnel_')}:build",
            config=f"stlm_windtunnel.{name.removeprefix('windtunnel_')}:Config",
            summary=summary,
        )
        for name, summary in _TASKS.items()
    ]
