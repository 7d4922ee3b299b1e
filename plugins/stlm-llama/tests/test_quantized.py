"""QLoRA: quantized weights stay as they are, checkpoints go round, and what is saved computes what was trained."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from stlm.config.run import train
from stlm.config.schema import FeedConfig, LoraConfig, MixtureSource, ScheduleConfig, TrainConfig, TrainerConfig
from stlm.errors import ConfigError, PluginError
from stlm.interfaces import LoraOptions
from stlm.system import SpeechTextLM
from stlm.testing.factories import make_corpus, tiny_system, write_shards
from stlm.testing.fakes import batch_of, packed_batch_of
from stlm_llama import pretrained
from stlm_llama.backbone import HuggingFaceBackbone
from stlm_llama.lora import dequantized
from stlm_llama.quantized import quantized_layers

BATCH = batch_of([[3, 7, 11, 2, 5, 7], [1, 30, 31, 30]])
TOLERANCE = {"nf4": 2e-2, "int8": 2e-2}
"""Relative error of logits, whole against quantized: products are in bf16 (nf4) and of rounded inputs (int8)."""


@pytest.fixture
def saved(tiny_models: Mapping[str, Callable[..., PreTrainedModel]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    model = tiny_models["llama"](hidden_size=64, intermediate_size=128)
    for parameter in model.parameters():
        parameter.data *= 0.3
    model.save_pretrained(directory)
    return directory


needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: stlm-llama[qlora]"
)


def adapted(saved: Path, kind: str, **options: str) -> HuggingFaceBackbone:
    """A quantized model that was grown to 32 ids, with an adapter and two trained rows."""
    backbone = pretrained.build(pretrained.Config(path=str(saved), quantization=kind, **options))
    backbone.extend(32, torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone.add_lora(LoraOptions(rank=4, alpha=8, trained_rows=(30, 31)))
    return backbone


def optimizer_of(backbone: HuggingFaceBackbone) -> torch.optim.Optimizer:
    return torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-2)


def learn(backbone: HuggingFaceBackbone, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    assert BATCH.labels is not None
    losses = []
    for _ in range(steps):
        logits = backbone.logits(backbone(BATCH).last)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), BATCH.labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def logits_of(backbone: HuggingFaceBackbone) -> torch.Tensor:
    return backbone.eval().logits(backbone(BATCH).last).float()


@needs_bitsandbytes
@pytest.mark.parametrize("kind", TOLERANCE)
def test_only_adapter_and_rows_learn_beside_quantized_layers(saved: Path, kind: str) -> None:
    backbone = adapted(saved, kind)
    layers = quantized_layers(backbone.model)
    assert len(layers) == 2 * 7, "all linear layers of two blocks, and not the head"
    weights = [copy.deepcopy(layer.weight.data) for layer in layers]
    tables = [table.clone() for table in backbone.head_parameters() if len(table) == 32]
    losses = learn(backbone, optimizer_of(backbone), 20)
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(layer.weight.data, old) for layer, old in zip(layers, weights, strict=True))
    backbone.merge_lora()
    for table, old in zip(backbone.head_parameters(), tables, strict=True):
        assert table.dtype == torch.float32
        assert (table != old).any(dim=1).nonzero().flatten().tolist() == [30, 31]


@needs_bitsandbytes
@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_saved_model_is_whole_and_computes_what_the_adapted_one_did(
    saved: Path, tmp_path: Path, kind: str, dtype: str
) -> None:
    backbone = adapted(saved, kind, dtype=dtype)
    learn(backbone, optimizer_of(backbone), 20)
    before = logits_of(backbone)
    backbone.save(tmp_path)
    again = pretrained.build(pretrained.Config(path=str(tmp_path), dtype=dtype))
    assert not quantized_layers(again.model)
    assert "quantization_config" not in (tmp_path / "config.json").read_text()
    error = (logits_of(again) - before).norm() / before.norm()
    assert error < TOLERANCE[kind]


@needs_bitsandbytes
@pytest.mark.parametrize("kind", TOLERANCE)
def test_an_interrupted_training_resumes_bit_for_bit(saved: Path, tmp_path: Path, kind: str) -> None:
    whole = adapted(saved, kind)
    expected = learn(whole, optimizer_of(whole), 6)
    cut = adapted(saved, kind)
    optimizer = optimizer_of(cut)
    assert learn(cut, optimizer, 3) == expected[:3]
    torch.save([cut.state_dict(), optimizer.state_dict()], tmp_path / "last.ckpt")
    state, moments = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert not [name for name, weight in state.items() if not weight.is_floating_point()]
    resumed = adapted(saved, kind)
    resumed.load_state_dict(state)
    optimizer = optimizer_of(resumed)
    optimizer.load_state_dict(moments)
    assert learn(resumed, optimizer, 3) == expected[3:]
    assert torch.equal(logits_of(resumed), logits_of(whole))


@needs_bitsandbytes
@pytest.mark.parametrize("kind", TOLERANCE)
def test_gradients_go_through_quantized_layers_also_after_an_evaluation(saved: Path, kind: str) -> None:
    """On CPUs with AVX-512 for bf16 the library's own layout for inference would cut them off without a word."""
    quantized, whole = adapted(saved, kind), adapted(saved, kind)
    assert whole.adapter is not None
    whole.adapter = dequantized(whole.adapter)
    found = []
    for backbone in (quantized, whole):
        logits_of(backbone)
        backbone.train()
        backbone.logits(backbone(BATCH).last).logsumexp(-1).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in backbone.parameters() if p.grad is not None]))
    assert (found[0] - found[1]).norm() < 2 * TOLERANCE[kind] * found[1].norm()


@needs_bitsandbytes
@pytest.mark.parametrize("kind", TOLERANCE)
def test_documents_of_a_row_stay_apart(saved: Path, kind: str) -> None:
    backbone = pretrained.build(pretrained.Config(path=str(saved), quantization=kind)).eval()
    with torch.no_grad():
        packed = backbone(packed_batch_of([[[1, 2, 3], [4, 5, 6, 7]]])).last[0, 3:]
        alone = backbone(batch_of([[4, 5, 6, 7]])).last[0]
    torch.testing.assert_close(packed, alone, atol=5e-2, rtol=0)


@needs_bitsandbytes
def test_a_qlora_run_resumes_exactly_and_leaves_a_whole_model_and_its_adapter(
    tiny_models: Mapping[str, Callable[..., PreTrainedModel]], tmp_path: Path
) -> None:
    system = tiny_system()
    write_shards(tmp_path / "shards", make_corpus(12, streams=tuple(system.codec.streams.values())))
    tiny_models["llama"](hidden_size=64).save_pretrained(tmp_path / "base")

    def run(out: str, steps: int, resume: bool = False) -> SpeechTextLM:
        system = tiny_system()
        system.backbone = pretrained.build(pretrained.Config(path=str(tmp_path / "base"), quantization="nf4"))
        system.backbone.extend(len(system.codec.format.vocabulary), torch.Generator().manual_seed(0))
        mixture = {"speech": MixtureSource(shards=str(tmp_path / "shards"), interleaver={"name": "unimodal"})}
        config = TrainConfig(
            out=str(tmp_path / out),
            mixture=mixture,
            feed=FeedConfig(length=64, rows=2, pool=4),
            optimizer={"_target_": "torch.optim.AdamW", "lr": 1e-3},
            trainer=TrainerConfig(
                max_steps=steps, precision="32-true", accelerator="cpu", progress=False, resume=resume, spike=None
            ),
            schedule=ScheduleConfig(warmup_steps=0, final_ratio=1.0),
            lora=LoraConfig(rank=2, trained_rows=["markers", "energy"]),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            train(config, system)
        return system

    whole = run("whole", 4)
    run("cut", 2)
    resumed = run("cut", 4, resume=True)
    expected = whole.backbone.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.backbone.state_dict().items())
    again = pretrained.build(pretrained.Config(path=str(tmp_path / "cut" / "backbone")))
    assert not quantized_layers(again) and (tmp_path / "cut" / "adapter" / "adapter_model.safetensors").exists()
    torch.testing.assert_close(again(BATCH).last, whole.backbone(BATCH).last)


def test_without_the_package_it_says_how_to_install_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stlm_llama.quantized.importlib.util.find_spec", lambda name: None)
    with pytest.raises(PluginError, match=r"quantization=nf4 needs .*bitsandbytes: pip install 'stlm-llama\[qlora\]'$"):
        pretrained.build(pretrained.Config(path=str(saved), quantization="nf4"))


def test_an_unknown_quantization_names_the_known(saved: Path) -> None:
    with pytest.raises(ConfigError, match="one of none, nf4, int8, got 'nf3'"):
        pretrained.build(pretrained.Config(path=str(saved), quantization="nf3"))
