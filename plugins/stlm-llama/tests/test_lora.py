"""LoRA through peft: which parameters learn, on models with one table and with two."""

from __future__ import annotations

import torch

from stlm.interfaces import LoraOptions
from stlm.testing.fakes import batch_of
from stlm_llama.backbone import HuggingFaceBackbone


def test_adapters_sit_on_every_linear_layer_but_the_head(backbone: HuggingFaceBackbone) -> None:
    backbone.add_lora(LoraOptions(rank=2))
    names = {name.split(".lora_")[0].split(".")[-1] for name, _ in backbone.named_parameters() if ".lora_" in name}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_named_modules_alone_are_adapted(backbone: HuggingFaceBackbone) -> None:
    backbone.add_lora(LoraOptions(rank=2, modules=("q_proj", "v_proj")))
    names = {name.split(".lora_")[0].split(".")[-1] for name, _ in backbone.named_parameters() if ".lora_" in name}
    assert names == {"q_proj", "v_proj"}


def test_trained_rows_of_a_tied_model_are_one_delta_and_of_an_untied_model_two(
    backbone: HuggingFaceBackbone, tied: bool
) -> None:
    backbone.add_lora(LoraOptions(rank=2, trained_rows=(3, 7)))
    deltas = {
        id(parameter): parameter
        for name, parameter in backbone.named_parameters()
        if "trainable_tokens_delta" in name and parameter.requires_grad
    }
    assert len(deltas) == (1 if tied else 2)
    assert all(delta.shape == (2, 16) for delta in deltas.values())


def test_rows_of_a_tied_model_stay_tied_after_training_and_merging(backbone: HuggingFaceBackbone, tied: bool) -> None:
    backbone.add_lora(LoraOptions(rank=2, trained_rows=(3, 7)))
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0)
    backbone.logits(backbone(batch_of([[3, 7, 3]])).last).logsumexp(-1).sum().backward()
    optimizer.step()
    backbone.merge_lora()
    embedding, head = backbone.model.get_input_embeddings().weight, backbone.model.get_output_embeddings().weight
    assert torch.equal(embedding, head) == tied


def test_no_adapter_is_left_after_merging(backbone: HuggingFaceBackbone) -> None:
    backbone.add_lora(LoraOptions(rank=2))
    backbone.merge_lora()
    assert not [name for name, _ in backbone.named_parameters() if "lora" in name]
