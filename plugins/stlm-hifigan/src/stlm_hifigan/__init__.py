"""HiFi-GAN: units to speech."""

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
