"""LoRA through peft: which parameters learn, on models with one table and with two."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import peft
import pytest
import torch
from transformers import PreTrainedModel

from stlm.interfaces import LoraOptions
from stlm.lightning.rows import join_rows
from stlm.lightning.tuning import TuningOptions, prepare
from stlm.testing.fakes import batch_of
from stlm_llama import pretrained
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


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "opt", "gpt_neox"])
def test_the_adapter_alone_makes_of_the_base_what_was_trained(
    tiny_models: Mapping[str, Callable[..., PreTrainedModel]], architecture: str, tmp_path: Path
) -> None:
    """It holds nothing of the base, also where the vocabulary has grown."""
    backbone = HuggingFaceBackbone(tiny_models[architecture]())
    backbone.extend(30, torch.Generator().manual_seed(0))
    backbone.add_lora(LoraOptions(rank=2, trained_rows=tuple(range(24, 30))))
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    batch = batch_of([[3, 25, 7, 29]])
    for _ in range(3):
        optimizer.zero_grad()
        backbone.logits(backbone(batch).last).logsumexp(-1).sum().backward()
        optimizer.step()
    backbone.eval()
    backbone.save_lora(tmp_path)
    base = HuggingFaceBackbone(tiny_models[architecture]())
    base.extend(30, torch.Generator().manual_seed(1))
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 20_000
    peft.PeftModel.from_pretrained(base.model, str(tmp_path))
    torch.testing.assert_close(base(batch).last, backbone(batch).last)
    torch.testing.assert_close(base.logits(base(batch).last), backbone.logits(backbone(batch).last))


def test_rows_of_an_adapter_are_tables_to_optimizers(backbone: HuggingFaceBackbone, tied: bool) -> None:
    backbone.add_lora(LoraOptions(rank=2, trained_rows=(3, 7)))
    trained = [parameter for parameter in backbone.head_parameters() if parameter.requires_grad]
    assert all(isinstance(parameter, torch.nn.Parameter) for parameter in backbone.head_parameters())
    assert [parameter.shape for parameter in trained] == [(2, 16)] * (1 if tied else 2)


def test_rows_alone_are_trained_without_an_adapter(backbone: HuggingFaceBackbone, tied: bool, tmp_path: Path) -> None:
    tables = backbone.head_parameters()
    before = [table.clone() for table in tables]
    prepare(backbone, TuningOptions(train=("embed_tokens", "lm_head"), rows=(3, 7)))
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    assert [parameter.shape for parameter in trained] == [(2, 16)] * (1 if tied else 2)
    optimizer = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.5)
    batch = batch_of([[3, 1, 7]])
    for _ in range(2):
        optimizer.zero_grad()
        backbone.logits(backbone(batch).last).logsumexp(-1).sum().backward()
        optimizer.step()
    hidden = backbone(batch).last
    join_rows(backbone)
    assert backbone.head_parameters() == tables
    for table, old in zip(tables, before, strict=True):
        assert (table != old).any(dim=1).nonzero().flatten().tolist() == [3, 7]
    backbone.save(tmp_path)
    assert torch.equal(pretrained.build(pretrained.Config(path=str(tmp_path)))(batch).last, hidden)
