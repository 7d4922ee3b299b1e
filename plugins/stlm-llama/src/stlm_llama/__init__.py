"""Llama and other causal language models of transformers as stlm backbones."""

from __future__ import annotations

from collections.abc import Sequence

from stlm.plugin import Component, hookimpl


@hookimpl
def stlm_backbones() -> Sequence[Component]:
    return [
        Component(
            name="llama",
            factory="stlm_llama.llama:build",
            config="stlm_llama.llama:Config",
            summary="LlamaForCausalLM from scratch, of any size",
        ),
        Component(
            name="causal_lm",
            factory="stlm_llama.pretrained:build",
            config="stlm_llama.pretrained:Config",
            summary="any causal LM of transformers, from a local directory or by hub name",
        ),
    ]
