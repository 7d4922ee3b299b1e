"""HuBERT speech units: any Hugging Face HuBERT or wav2vec2 with k-means, and the official 25 Hz checkpoint."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_unit_encoders() -> list[Component]:
    return [
        Component(
            name="hubert",
            factory="stlm_hubert.encoder:build",
            config="stlm_hubert.encoder:Config",
            summary="k-means units of one layer of a Hugging Face HuBERT or wav2vec2",
        ),
        Component(
            name="hubert_25hz",
            factory="stlm_hubert.encoder_25hz:build",
            config="stlm_hubert.encoder_25hz:Config",
            summary="Spirit LM's 25 Hz HuBERT with its linear quantizer, from the official checkpoint layout",
        ),
    ]
