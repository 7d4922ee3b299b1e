"""Aligners with published weights: when is each word of a known text said?"""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_aligners() -> list[Component]:
    return [
        Component(
            name="wav2vec2_ctc",
            factory="stlm_align.wav2vec2_ctc:build",
            config="stlm_align.wav2vec2_ctc:Config",
            summary="any CTC model of transformers: wav2vec 2.0, HuBERT, WavLM, MMS with a language",
        ),
        Component(
            name="mms",
            factory="stlm_align.mms:build",
            config="stlm_align.mms:Config",
            summary="torchaudio's MMS_FA, romanised text of 1,100 languages; other scripts need stlm-align[uroman]",
        ),
        Component(
            name="pocketsphinx",
            factory="stlm_align.pocketsphinx:build",
            config="stlm_align.pocketsphinx:Config",
            summary="PocketSphinx with its bundled English model, offline; needs stlm-align[pocketsphinx]",
        ),
    ]
