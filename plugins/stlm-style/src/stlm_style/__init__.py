"""Speaking-style units, one a second, from a wav2vec2 sequence classifier."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_unit_encoders() -> list[Component]:
    return [
        Component(
            name="style_w2v2",
            factory="stlm_style.encoder:build",
            config="stlm_style.encoder:Config",
            summary="one style unit a second from a wav2vec2 classifier, as in Spirit LM Expressive",
        )
    ]


@hookimpl
def stlm_classifiers() -> list[Component]:
    return [
        Component(
            name="style_w2v2",
            factory="stlm_style.judge:build",
            config="stlm_style.judge:Config",
            summary="labels of whole recordings by a wav2vec2 classifier: a judge of style or emotion",
        )
    ]


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="style_units",
            factory="stlm_style.recipe:build",
            config="stlm_style.recipe:Config",
            summary="trains the style units that style_w2v2 loads, from recordings with a label",
        )
    ]
