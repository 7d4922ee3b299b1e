"""Pitch: trackers of the fundamental frequency, and units of it."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_f0_extractors() -> list[Component]:
    return [
        Component(
            name="fcpe",
            factory="stlm_pitch.fcpe:build",
            config="stlm_pitch.fcpe:Config",
            summary="F0 by FCPE, a small conformer whose weights come with its package",
        ),
        Component(
            name="praat",
            factory="stlm_pitch.praat:build",
            config="stlm_pitch.praat:Config",
            summary="F0 by Praat's autocorrelation; needs stlm-pitch[praat]",
        ),
    ]


@hookimpl
def stlm_unit_encoders() -> list[Component]:
    return [
        Component(
            name="pitch_vqvae",
            factory="stlm_pitch.encoder:build",
            config="stlm_pitch.encoder:Config",
            summary="pitch units at 12.5 Hz from a VQ-VAE over F0, in the official checkpoint layout",
        )
    ]


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="pitch_vqvae",
            factory="stlm_pitch.recipe:build",
            config="stlm_pitch.recipe:Config",
            summary="trains the VQ-VAE over F0 that the encoder pitch_vqvae loads",
        )
    ]
