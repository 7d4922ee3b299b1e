"""Text tokenizers: SentencePiece models (trained here or foreign, such as Llama 2's) and Hugging Face tokenizers."""

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_unit_encoders() -> list[Component]:
    return [
        Component(
            name="sentencepiece",
            factory="stlm_bpe.sentencepiece_encoder:build",
            config="stlm_bpe.sentencepiece_encoder:Config",
            summary="a SentencePiece .model file as text encoder, over 1.5 million ids per second",
        ),
        Component(
            name="hf_tokenizer",
            factory="stlm_bpe.hf_encoder:build",
            config="stlm_bpe.hf_encoder:Config",
            summary="any Hugging Face fast tokenizer, from a directory or the hub",
        ),
    ]


@hookimpl
def stlm_recipes() -> list[Component]:
    return [
        Component(
            name="bpe",
            factory="stlm_bpe.recipe:build",
            config="stlm_bpe.recipe:Config",
            summary="trains a SentencePiece BPE model on the texts of utterances",
        ),
        Component(
            name="byte_bpe",
            factory="stlm_bpe.byte_recipe:build",
            config="stlm_bpe.byte_recipe:Config",
            summary="trains a byte-level BPE tokenizer on the texts of utterances",
        ),
    ]
