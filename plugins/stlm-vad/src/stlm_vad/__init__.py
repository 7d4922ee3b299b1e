"""Long recordings in pieces: cut at pauses that a voice activity detector finds, or between words."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_stages() -> list[Component]:
    return [
        Component(
            name="split",
            factory="stlm_vad.split:build",
            config="stlm_vad.split:Config",
            summary="cuts long recordings at pauses (Silero VAD), those with word times between words",
        )
    ]
