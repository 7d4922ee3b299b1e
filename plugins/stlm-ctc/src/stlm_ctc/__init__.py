"""A small recogniser of characters that anybody can train: it judges speech, and tells when each word is said."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="ctc",
            factory="stlm_ctc.recipe:build",
            config="stlm_ctc.recipe:Config",
            summary="trains a CTC recogniser on recordings with transcripts; recipe=ctc_tiny takes minutes on a CPU",
        )
    ]


@hookimpl
def stlm_judges() -> list[Component]:
    return [
        Component(
            name="ctc",
            factory="stlm_ctc.judge:build",
            config="stlm_ctc.recogniser:Config",
            summary="reads speech with a recogniser that recipe=ctc trained",
        )
    ]


@hookimpl
def stlm_aligners() -> list[Component]:
    return [
        Component(
            name="ctc",
            factory="stlm_ctc.aligner:build",
            config="stlm_ctc.recogniser:Config",
            summary="word times of a known text, from a recogniser that recipe=ctc trained",
        )
    ]
