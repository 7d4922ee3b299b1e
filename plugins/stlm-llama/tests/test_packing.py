"""Documents of a packed row stay apart: the rule that transformers breaks silently if one argument is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig, FalconConfig, MambaConfig, PreTrainedConfig

from stlm.errors import ConfigError
from stlm.testing.fakes import TinyCache, batch_of, packed_batch_of
from stlm_llama import pretrained
from stlm_llama.backbone import HuggingFaceBackbone

ROWS = [[[1, 2, 3, 4, 5], [6, 7]], [[8], [9, 10, 11, 12], [13, 14]], [[15, 16, 17, 18, 19, 20, 21]]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_with_different_boundaries_equal_separate_documents(
    make_backbone: Callable[..., HuggingFaceBackbone], attention: str
) -> None:
    backbone = make_backbone()
    backbone.model.set_attn_implementation(attention)
    with torch.no_grad():
        packed = backbone(packed_batch_of(ROWS)).last
        for row, documents in enumerate(ROWS):
            start = 0
            for document in documents:
                alone = backbone(batch_of([document])).last[0]
                got = packed[row, start : start + len(document)]
                torch.testing.assert_close(got, alone, atol=1e-6, rtol=1e-6)
                start += len(document)


def test_documents_do_leak_through_an_all_ones_mask(make_backbone: Callable[..., HuggingFaceBackbone]) -> None:
    """Why the backbone passes none: this is what a change of transformers' defaults would bring back."""
    backbone = make_backbone()
    batch = packed_batch_of(ROWS[:1])
    with torch.no_grad():
        right = backbone(batch).last
        leaky = backbone.model.base_model(
            input_ids=batch.ids, position_ids=batch.positions, attention_mask=torch.ones_like(batch.ids)
        ).last_hidden_state
    assert not torch.allclose(right[0, 5:], leaky[0, 5:], atol=1e-3)


def test_the_cache_of_another_backbone_is_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(ConfigError, match="TinyCache"):
        backbone(batch_of([[1, 2]]), cache=TinyCache())


def test_layers_are_the_embedding_and_the_outputs_of_blocks(backbone: HuggingFaceBackbone) -> None:
    batch = batch_of([[1, 2, 3]])
    with torch.no_grad():
        hidden = backbone(batch, layers=(0, 2))
        embedded = backbone.model.get_input_embeddings()(batch.ids)
    torch.testing.assert_close(hidden.layers[0], embedded)
    assert set(hidden.layers) == {0, 2}


@pytest.mark.parametrize(
    "config",
    [
        FalconConfig(vocab_size=24, hidden_size=16, num_hidden_layers=2, num_attention_heads=2),
        BloomConfig(vocab_size=24, hidden_size=16, n_layer=2, n_head=2),
        MambaConfig(vocab_size=24, hidden_size=16, num_hidden_layers=2, state_size=4),
    ],
    ids=["falcon", "bloom", "mamba"],
)
def test_an_architecture_in_which_documents_leak_is_refused(config: PreTrainedConfig, tmp_path: Path) -> None:
    """One that takes positions and mixes documents all the same, one that takes none, one with a state."""
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"a document sees the one before it in its row.*Llama, Qwen") as caught:
        pretrained.build(pretrained.Config(path=str(tmp_path)))
    assert "\n" not in str(caught.value)
