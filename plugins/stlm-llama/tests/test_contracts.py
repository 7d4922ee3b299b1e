"""The laws that stlm asks of every backbone, for a Llama from scratch and for four architectures that are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from transformers import PreTrainedModel

from stlm.testing.contracts import AdaptableBackboneContract
from stlm_llama import llama, pretrained
from stlm_llama.backbone import HuggingFaceBackbone

TOLERANCE = 4e-6  # fp32 noise of hidden states of size 1


class TestLlamaFromScratch(AdaptableBackboneContract):
    component = "llama"
    tolerance = TOLERANCE

    def reload(self, directory: Path) -> HuggingFaceBackbone:
        return llama.build(llama.Config(path=str(directory)))


class CausalLMFromADirectory(AdaptableBackboneContract):
    """Of an architecture that a subclass names."""

    component = "causal_lm"
    tolerance = TOLERANCE
    architecture = ""

    @pytest.fixture
    def backbone(
        self, tiny_models: Mapping[str, Callable[..., PreTrainedModel]], tmp_path_factory: pytest.TempPathFactory
    ) -> HuggingFaceBackbone:
        saved = tmp_path_factory.mktemp("saved")
        tiny_models[self.architecture]().save_pretrained(saved)
        return self.reload(saved).eval()

    def reload(self, directory: Path) -> HuggingFaceBackbone:
        return pretrained.build(pretrained.Config(path=str(directory)))


class TestLlama(CausalLMFromADirectory):
    architecture = "llama"


class TestQwen3(CausalLMFromADirectory):
    architecture = "qwen3"


class TestOPT(CausalLMFromADirectory):
    architecture = "opt"


class TestGPTNeoX(CausalLMFromADirectory):
    architecture = "gpt_neox"
