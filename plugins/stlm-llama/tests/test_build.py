"""Building and loading: sizes, RoPE, seeds, and errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stlm.errors import ConfigError, DataError
from stlm.testing.fakes import batch_of
from stlm_llama import llama, pretrained
from stlm_llama.backbone import HuggingFaceBackbone


def frequencies(base: float, head_size: int) -> torch.Tensor:
    return base ** (-torch.arange(0, head_size, 2) / head_size)


def test_the_rope_base_is_the_papers_unless_told_otherwise() -> None:
    backbone = llama.build(llama.Config(vocab_size=8, hidden_size=32, num_layers=1, num_heads=2, intermediate_size=32))
    torch.testing.assert_close(backbone.model.base_model.rotary_emb.inv_freq, frequencies(100_000.0, 16))


@pytest.mark.parametrize("base", [None, 500.0])
def test_a_pretrained_model_can_be_given_another_rope_base(tmp_path: Path, base: float | None) -> None:
    sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "intermediate_size": 32}
    llama.build(llama.Config(vocab_size=8, rope_base=10_000.0, **sizes)).save(tmp_path)
    loaded = pretrained.build(pretrained.Config(path=str(tmp_path), rope_base=base))
    torch.testing.assert_close(loaded.model.base_model.rotary_emb.inv_freq, frequencies(base or 10_000.0, 16))


def test_a_changed_rope_base_is_saved_with_the_model(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "intermediate_size": 32}
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    llama.build(llama.Config(vocab_size=8, rope_base=10_000.0, **sizes)).save(first)
    pretrained.build(pretrained.Config(path=str(first), rope_base=500.0)).save(second)
    again = llama.build(llama.Config(path=str(second)))
    torch.testing.assert_close(again.model.base_model.rotary_emb.inv_freq, frequencies(500.0, 16))


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone() -> None:
    config = llama.Config(vocab_size=8, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, seed=3)
    before = torch.random.get_rng_state()
    one, two = llama.build(config), llama.build(config)
    assert torch.equal(torch.random.get_rng_state(), before)
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(left, right)
    other = llama.build(replace(config, seed=4))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize(("tied", "count"), [(True, 1), (False, 2)])
def test_tied_models_have_one_table_and_untied_two(tied: bool, count: int) -> None:
    config = llama.Config(
        vocab_size=8, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16, tie_embeddings=tied
    )
    assert len(llama.build(config).head_parameters()) == count


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(ConfigError, match="multiple of num_heads"):
        llama.build(llama.Config(vocab_size=8, hidden_size=30, num_heads=4))
    with pytest.raises(ConfigError, match="vocab_size"):
        llama.build(llama.Config())
    with pytest.raises(ConfigError, match="path"):
        pretrained.build(pretrained.Config())
    with pytest.raises(ConfigError, match="float8"):
        pretrained.build(pretrained.Config(path="x", dtype="float8"))


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot load a causal LM") as caught:
        pretrained.build(pretrained.Config(path=str(tmp_path)))
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(DataError, match="cannot load a causal LM"):
        pretrained.build(pretrained.Config(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda state: state.pop("model.layers.0.mlp.down_proj.weight"), "down_proj.weight' is missing"),
        (lambda state: state.update({"model.layers.7.x": torch.ones(1)}), "'model.layers.7.x' has no place"),
        (lambda state: state.update({"model.norm.weight": torch.ones(3)}), "'model.norm.weight' has another shape"),
    ],
)
def test_weights_that_do_not_fit_are_never_replaced_by_random_ones(
    tmp_path: Path, backbone: HuggingFaceBackbone, change: Callable[[dict], None], fault: str, capfd
) -> None:
    backbone.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    with pytest.raises(DataError, match=fault):
        pretrained.build(pretrained.Config(path=str(tmp_path)))
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize("layers", [1, 3])
def test_a_changed_number_of_layers_is_noticed(tmp_path: Path, backbone: HuggingFaceBackbone, layers: int) -> None:
    backbone.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    with pytest.raises(DataError, match=r"weight 'model.layers.*config.json"):
        pretrained.build(pretrained.Config(path=str(tmp_path)))


def test_constants_of_older_checkpoints_are_passed_over(tmp_path: Path, backbone: HuggingFaceBackbone) -> None:
    backbone.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert pretrained.build(pretrained.Config(path=str(tmp_path))) is not None


def test_a_backbone_never_shrinks(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(ConfigError, match="cannot shrink"):
        backbone.extend(4, torch.Generator())


def test_new_rows_are_as_large_as_a_fresh_models(backbone: HuggingFaceBackbone) -> None:
    backbone.extend(24 + 400, torch.Generator().manual_seed(0))
    for table in backbone.head_parameters():
        assert table.shape[0] == 424
        assert float(table[24:].detach().std()) == pytest.approx(backbone.model.config.initializer_range, rel=0.1)


def test_tied_tables_stay_tied_when_they_grow(backbone: HuggingFaceBackbone, tied: bool) -> None:
    backbone.extend(30, torch.Generator().manual_seed(0))
    embedding, head = backbone.model.get_input_embeddings().weight, backbone.model.get_output_embeddings().weight
    assert (embedding is head) == tied
    assert backbone.model.config.vocab_size == 30
    assert backbone.logits(backbone(batch_of([[29]])).last).shape[-1] == 30
