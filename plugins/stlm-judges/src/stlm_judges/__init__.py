"""Judges with published weights: what does generated speech say, to ears that this project did not train?"""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_judges() -> list[Component]:
    return [
        Component(
            name="whisper",
            factory="stlm_judges.whisper:build",
            config="stlm_judges.whisper:Config",
            summary="Whisper through transformers; medium is what Spirit LM's speech generation is judged by",
        ),
        Component(
            name="wav2vec2_ctc",
            factory="stlm_judges.wav2vec2_ctc:build",
            config="stlm_judges.wav2vec2_ctc:Config",
            summary="wav2vec 2.0 with a CTC head, and MMS for 1,100 languages, through transformers",
        ),
        Component(
            name="pocketsphinx",
            factory="stlm_judges.pocketsphinx:build",
            config="stlm_judges.pocketsphinx:Config",
            summary="PocketSphinx with its bundled English model, offline; needs stlm-judges[pocketsphinx]",
        ),
    ]
