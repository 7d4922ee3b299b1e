"""HiFi-GAN: units to speech, and its training."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_vocoders() -> list[Component]:
    return [
        Component(
            name="hifigan",
            factory="stlm_hifigan.vocoder:build",
            config="stlm_hifigan.vocoder:Config",
            summary="speech from HuBERT units, with pitch and style where the checkpoint has them",
        )
    ]


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="hifigan",
            factory="stlm_hifigan.recipe:build",
            config="stlm_hifigan.recipe:Config",
            summary="trains a unit vocoder: units, and pitch, style and speakers where given, to speech",
        )
    ]
