"""The laws that stlm asks of every backbone, for a Llama from scratch and for one that transformers loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import AdaptableBackboneContract, BackboneContract
from stlm_llama import llama, pretrained
from stlm_llama.backbone import HuggingFaceBackbone

TOLERANCE = 4e-6  # fp32 noise of hidden states of size 1


class TestLlamaFromScratch(AdaptableBackboneContract):
    component = "llama"
    tolerance = TOLERANCE

    def reload(self, directory: Path) -> HuggingFaceBackbone:
        return llama.build(llama.Config(path=str(directory)))


class TestCausalLMFromADirectory(BackboneContract):
    component = "causal_lm"
    tolerance = TOLERANCE

    @pytest.fixture
    def backbone(self, saved: Path) -> HuggingFaceBackbone:
        return self.reload(saved).eval()

    def reload(self, directory: Path) -> HuggingFaceBackbone:
        return pretrained.build(pretrained.Config(path=str(directory)))
