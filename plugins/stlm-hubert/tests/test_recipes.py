"""Pretraining, k-means and quantizer: what they write loads, resumes, and bad input is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertModel

from stlm.errors import ConfigError, DataError
from stlm.learn.threads import one_thread
from stlm.learn.training import CHECKPOINT
from stlm.types import Audio, Utterance
from stlm_hubert import encoder, encoder_25hz, kmeans, pretrain, quantize
from stlm_hubert.masked_prediction import MaskedPrediction
from stlm_hubert.official import hubert_options, read_official
from stlm_hubert.pretrained import read_pretrained

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "feed_forward": 48,
    "conv_dim": (16,) * 8,
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2, 2),
    "position_kernel": 8,
    "position_groups": 4,
    "projection": 16,
    "num_clusters": 6,
    "batch_seconds": 4.0,
    "crop_seconds": 1.0,
    "max_steps": 6,
    "warmup_steps": 1,
    "learning_rate": 1e-3,
    "num_workers": 0,
    "checkpoint_every": 4,
    "report_every": 3,
    "precision": "32-true",
    "accelerator": "cpu",
}


@pytest.fixture(autouse=True, scope="module")
def on_one_thread() -> Iterator[None]:
    with one_thread():
        yield


def corpus(count: int = 20) -> list[Utterance]:
    """Sequences of tones in noise, 0.8 s and more, of two speakers."""
    found = []
    for index in range(count):
        rng = np.random.default_rng(index)
        time = np.arange(1600) / 16000
        parts = [np.sin(2 * np.pi * rng.choice([200, 500, 1200, 3000]) * time) for _ in range(8 + index % 3)]
        samples = (0.2 * np.concatenate(parts) + rng.normal(0, 0.01, 1600 * len(parts))).astype(np.float32)
        audio = Audio(samples=samples, sample_rate=16000)
        found.append(Utterance(id=f"u{index}", audio=audio, speaker=f"s{index % 2}"))
    return found


def pretrained(out: Path, **more: Any) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    pretrain.build(pretrain.Config(**{**TINY, **more})).train(corpus(), out)
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def units(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("units")
    kmeans.build(kmeans.Config(path=str(model), layer=1, num_units=8, device="cpu")).train(corpus(), out)
    return out


@pytest.fixture(scope="module")
def quantizer(units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quantizer")
    quantize.build(quantizer_config(units)).train(corpus(), out)
    return out


def quantizer_config(units: Path, **more: Any) -> quantize.Config:
    options = {name: TINY[name] for name in ("num_workers", "checkpoint_every", "precision", "accelerator")}
    options |= {"path": str(units), "batch_size": 4, "crop_seconds": 1.0, "max_steps": 8, "learning_rate": 1e-3}
    return quantize.Config(**{**options, **more})


def test_what_pretraining_writes_is_a_model_of_the_hub(model: Path) -> None:
    loaded = HubertModel.from_pretrained(model)
    assert loaded.config.hidden_size == 32
    assert json.loads((model / "preprocessor_config.json").read_text())["do_normalize"] is False
    report = json.loads((model / "report.json").read_text())
    assert report["last"]["step"] == 6 and np.isfinite(report["last"]["loss"])
    assert 0 < report["targets"]["used"] <= 1


def test_an_interrupted_pretraining_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    steady = {"dropout": 0.2, "layer_drop": 0.3, "distorted": 0.5, "final_ratio": 1.0, "warmup_steps": 0}
    whole = pretrained(tmp_path / "whole", **steady)
    pretrained(tmp_path / "broken", **steady, max_steps=4)
    assert (tmp_path / "broken" / CHECKPOINT).exists()
    resumed = pretrained(tmp_path / "broken", **steady)
    first, second = (HubertModel.from_pretrained(path).state_dict() for path in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    steps = [row["step"] for row in json.loads((resumed / "report.json").read_text())["curves"]]
    assert steps == [1, 3, 4, 6]


def test_the_second_iteration_learns_the_first_ones_clusters(model: Path, tmp_path: Path) -> None:
    second = pretrained(tmp_path, teacher=str(model), teacher_layer=1, start=str(model))
    before, after = (HubertModel.from_pretrained(path).state_dict() for path in (model, second))
    name = "encoder.layers.0.attention.q_proj.weight"
    assert before[name].shape == after[name].shape and not torch.equal(before[name], after[name])


def test_a_teacher_of_another_rate_is_refused(model: Path, tmp_path: Path) -> None:
    wrong = {"conv_dim": (16,) * 7, "conv_kernel": TINY["conv_kernel"][:7], "conv_stride": TINY["conv_stride"][:7]}
    with pytest.raises(ConfigError, match="hop of 640 samples, expected 320"):
        pretrained(tmp_path, teacher=str(model), **wrong)


def test_masked_frames_are_hidden_from_the_model() -> None:
    torch.manual_seed(0)
    model = HubertModel(pretrain.Config(**TINY).hubert).eval()
    learner = MaskedPrediction(
        model, 6, projection=16, temperature=0.1, unmasked_weight=0.0, feature_gradient=1.0,
        learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.98), seed=0,
    )  # fmt: skip
    waves = torch.randn(2, 16000 + 80)
    everything = torch.ones(2, 25, dtype=torch.bool)
    with torch.no_grad():
        hidden, seen = (learner.logits(waves, masks) for masks in (everything, ~everything))
    torch.testing.assert_close(hidden[0], hidden[1])
    assert not torch.allclose(seen[0], seen[1])
    assert hidden.abs().max() <= 10 + 1e-4  # cosines over 0.1
    losses = learner.training_step((waves, torch.zeros(2, 25, dtype=torch.long), everything), 0)
    assert all(torch.isfinite(value) for value in losses.values())


def test_equal_steps_have_equal_dropout_whatever_came_before() -> None:
    config = pretrain.Config(**TINY, dropout=0.5)
    torch.manual_seed(0)
    learner = MaskedPrediction(
        HubertModel(config.hubert).train(), 6, projection=16, temperature=0.1, unmasked_weight=0.0,
        feature_gradient=0.1, learning_rate=1e-3, weight_decay=0.0, betas=(0.9, 0.98), seed=0,
    )  # fmt: skip
    batch = torch.randn(2, 16080), torch.zeros(2, 25, dtype=torch.long), torch.arange(50).view(2, 25) % 2 == 0
    first = learner.training_step(batch, 0)["loss"]
    torch.rand(7)
    assert torch.equal(first, learner.training_step(batch, 0)["loss"])


def test_kmeans_units_load_and_are_all_used(units: Path) -> None:
    built = encoder.build(encoder.Config(path=str(units)))
    (found,) = built.encode([corpus(1)[0].audio])  # pyright: ignore[reportArgumentType]
    assert built.spec.codebook_sizes == (8,) and built.spec.frame_rate_hz == 25
    assert len(set(found.codes[:, 0].tolist())) > 1
    assert json.loads((units / "report.json").read_text())["used"] == 1


def test_kmeans_of_a_layer_in_passes_is_the_same_each_time(model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        config = kmeans.Config(path=str(model), layer=2, num_units=5, passes=1, device="cpu")
        kmeans.build(config).train(iter(corpus()), tmp_path / name)
    prints = {encoder.build(encoder.Config(path=str(tmp_path / name))).fingerprint for name in ("a", "b")}
    assert len(prints) == 1


def test_both_layouts_of_the_quantizer_give_equal_units(quantizer: Path) -> None:
    own = encoder_25hz.build(encoder_25hz.Config(path=str(quantizer)))
    official = encoder_25hz.build(encoder_25hz.Config(path=str(quantizer / "official")))
    assert own.fingerprint == official.fingerprint
    sounds = [item.audio for item in corpus(3)]
    for one, other in zip(own.encode(sounds), official.encode(sounds), strict=True):  # pyright: ignore[reportArgumentType]
        np.testing.assert_array_equal(one.codes, other.codes)
    assert own.spec.codebook_sizes == (9,)


def test_the_export_holds_the_layer_and_the_classes_of_the_training(quantizer: Path, units: Path) -> None:
    exported = read_official(
        *(quantizer / "official" / name for name in ("mhubert_base_25hz.pt", "L11_quantizer_500.pt"))
    )
    assert exported.options["num_hidden_layers"] == 1
    wave = torch.from_numpy(corpus(1)[0].audio.samples)[None]  # type: ignore[union-attr]
    with torch.no_grad():
        whole = read_pretrained(str(units / "model"))(wave, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(exported.hubert()(wave).last_hidden_state, whole, atol=1e-5, rtol=1e-5)


def test_the_official_files_are_plain_data_with_the_official_keys(quantizer: Path) -> None:
    content = torch.load(quantizer / "official" / "mhubert_base_25hz.pt", weights_only=True)
    assert set(content) == {"model_cfg", "task_cfg", "model_weight", "dictionaries_symbols"}
    assert hubert_options(content["model_cfg"], "x")["conv_kernel"] == list(TINY["conv_kernel"])
    names = set(content["model_weight"])
    assert {"mask_emb", "layer_norm.weight", "post_extract_proj.bias", "encoder.pos_conv.0.weight_g"} <= names
    assert {"encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.0.self_attn_layer_norm.bias"} <= names
    assert not any(name.startswith("encoder.layers.1") for name in names)


def test_the_report_has_the_edit_distance_of_each_distortion(quantizer: Path) -> None:
    rows = json.loads((quantizer / "report.json").read_text())["unit edit distance, %"]
    assert set(rows) == {"time_stretch", "pitch_shift", "reverberation", "noise"}
    assert all(set(row) == {"kmeans", "quantizer"} and row["kmeans"] > 0 for row in rows.values())


def test_rounds_go_on_from_the_units_of_the_round_before(units: Path, tmp_path: Path, quantizer: Path) -> None:
    quantize.build(quantizer_config(units, rounds=2)).train(corpus(), tmp_path)
    loaded = encoder_25hz.build(encoder_25hz.Config(path=str(tmp_path)))
    assert loaded.fingerprint != encoder_25hz.build(encoder_25hz.Config(path=str(quantizer))).fingerprint
    assert not list((tmp_path / "round-0").rglob("*.ckpt"))


def test_mixed_precision_trains_the_quantizer_in_float32(units: Path, quantizer: Path, tmp_path: Path) -> None:
    quantize.build(quantizer_config(units, precision="bf16-mixed")).train(corpus(), tmp_path)
    prints = {encoder_25hz.build(encoder_25hz.Config(path=str(path))).fingerprint for path in (quantizer, tmp_path)}
    assert len(prints) == 1


@pytest.mark.slow
def test_the_quantizer_lowers_the_edit_distance_under_noise(model: Path, tmp_path: Path) -> None:
    for name in ("units", "quantizer"):
        (tmp_path / name).mkdir()
    kmeans.build(kmeans.Config(path=str(model), layer=1, num_units=30, device="cpu")).train(
        corpus(60), tmp_path / "units"
    )
    config = quantizer_config(tmp_path / "units", max_steps=300, learning_rate=5e-3, augmentations=("noise",))
    quantize.build(config).train(corpus(60), tmp_path / "quantizer")
    row = json.loads((tmp_path / "quantizer" / "report.json").read_text())["unit edit distance, %"]["noise"]
    assert row["quantizer"] < 0.9 * row["kmeans"], row


def test_models_that_the_official_layout_cannot_hold_are_refused(units: Path, tmp_path: Path) -> None:
    copy = tmp_path / "units"
    shutil.copytree(units, copy)
    options = json.loads((copy / "encoder.json").read_text())
    (copy / "encoder.json").write_text(json.dumps({**options, "normalize": True}))
    with pytest.raises(ConfigError, match="normalised waves"):
        quantize.build(quantizer_config(copy)).train(corpus(), tmp_path)
    large = pretrained(tmp_path / "large", layer_norm_first=True, max_steps=1)
    shutil.rmtree(copy)
    copy.mkdir()
    kmeans.build(kmeans.Config(path=str(large), layer=1, num_units=8, device="cpu")).train(corpus(), copy)
    with pytest.raises(ConfigError, match="feat_extract_norm='layer', expected 'group'"):
        quantize.build(quantizer_config(copy)).train(corpus(), tmp_path)


def test_bad_corpora_are_one_line(model: Path, units: Path, tmp_path: Path) -> None:
    fit = kmeans.build(kmeans.Config(path=str(model), layer=1, num_units=500, device="cpu"))
    with pytest.raises(DataError, match="frames for 500 clusters"):
        fit.train(corpus(5), tmp_path)
    with pytest.raises(DataError, match="got 0 recordings"):
        fit.train([], tmp_path)
    silent = [replace(item, audio=Audio(samples=np.zeros(16000, np.float32), sample_rate=16000)) for item in corpus(4)]
    with pytest.raises(DataError, match="silent"):
        pretrain.build(pretrain.Config(**TINY)).train(silent, tmp_path)
    with pytest.raises(DataError, match="expected at least 10"):
        quantize.build(quantizer_config(units)).train(corpus(5), tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_heads": 5},
        {"conv_dim": (16,)},
        {"mask_share": 0.0},
        {"crop_seconds": 9.0},
        {"num_clusters": 1},
        {"betas": (0.9,)},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        pretrain.Config(**{**TINY, **wrong})


def test_unknown_augmentations_get_a_suggestion(units: Path) -> None:
    with pytest.raises(ConfigError, match="pitch_shift"):
        quantizer_config(units, augmentations=("pitch_shfit",))


def test_the_tiny_settings_are_options_of_the_recipes(tiny: SimpleNamespace) -> None:
    from importlib import resources

    import yaml

    for name, kind in (("hubert_tiny", pretrain.Config), ("hubert_quantizer_tiny", quantize.Config)):
        options = yaml.safe_load((resources.files("stlm_hubert.configs") / "recipe" / f"{name}.yaml").read_text())
        assert options.pop("name") in {"hubert_pretrain", "hubert_quantizer"}
        kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()})
