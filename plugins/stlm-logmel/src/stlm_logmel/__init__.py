"""Speech units from mel cepstra and k-means: the smallest complete encoder, vocoder and recipe."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_unit_encoders() -> list[Component]:
    return [
        Component(
            name="logmel",
            factory="stlm_logmel.encoder:build",
            config="stlm_logmel.encoder:Config",
            summary="k-means units of mel cepstra, 25 Hz, thousands of times real time on one core",
        )
    ]


@hookimpl
def stlm_vocoders() -> list[Component]:
    return [
        Component(
            name="griffinlim",
            factory="stlm_logmel.vocoder:build",
            config="stlm_logmel.vocoder:Config",
            summary="whispered speech from logmel units by Griffin-Lim, no training of its own",
        )
    ]


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="logmel_kmeans",
            factory="stlm_logmel.recipe:build",
            config="stlm_logmel.recipe:Config",
            summary="fits the codebook that logmel and griffinlim load",
        )
    ]
