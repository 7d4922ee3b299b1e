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


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="hubert_pretrain",
            factory="stlm_hubert.pretrain:build",
            config="stlm_hubert.pretrain:Config",
            summary="pretrains a HuBERT by masked prediction of clusters of cepstra, or of an earlier model's frames",
        ),
        Component(
            name="hubert_kmeans",
            factory="stlm_hubert.kmeans:build",
            config="stlm_hubert.kmeans:Config",
            summary="fits the k-means that hubert loads, on a layer of any HuBERT or wav2vec2",
        ),
        Component(
            name="hubert_quantizer",
            factory="stlm_hubert.quantize:build",
            config="stlm_hubert.quantize:Config",
            summary="trains the quantizer that hubert_25hz loads: units that noise, echo, pitch and tempo leave alone",
        ),
    ]
