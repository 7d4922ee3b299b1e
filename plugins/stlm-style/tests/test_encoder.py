"""Units by hand, pooling by hand, every stored form of the weights, and one clear line for every fault."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2ForSequenceClassification

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio
from stlm_style.encoder import Config, StyleEncoder, build
from stlm_style.pooling import means

STORED = "wav2vec2.encoder.pos_conv_embed.conv."


@pytest.fixture(scope="module")
def encoder(classifier_path: Path) -> StyleEncoder:
    return build(Config(path=str(classifier_path)))


@pytest.fixture
def copy(classifier_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(classifier_path, tmp_path / "copy"))


def audio(length: int) -> Audio:
    """Noise whose colour and level change every half second."""
    rng = np.random.default_rng(length)
    parts = [
        rng.uniform(0.02, 0.5) * np.convolve(rng.normal(0, 1, 8000), rng.normal(0, 1, 8), "same")
        for _ in range(length // 8000 + 1)
    ]
    return Audio(samples=np.concatenate(parts)[:length].astype(np.float32), sample_rate=16000)


def by_hand(model: Wav2Vec2ForSequenceClassification, sound: Audio) -> list[int]:
    wave = torch.from_numpy(sound.samples)
    wave = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
    rows = model.projector(model.wav2vec2(wave[None]).last_hidden_state[0])
    return [int(model.classifier(rows[begin : begin + 50].mean(0)).argmax()) for begin in range(0, len(rows), 50)]


def test_units_equal_those_by_hand(encoder: StyleEncoder, model: Wav2Vec2ForSequenceClassification) -> None:
    sounds = [audio(length) for length in (64_000, 16_079, 16_080, 16_400, 1280, 40_123)]
    found = [units.codes[:, 0].tolist() for units in encoder.encode(sounds)]
    assert found == [by_hand(model, sound) for sound in sounds]
    assert [len(codes) for codes in found] == [4, 1, 1, 2, 1, 3]
    assert len({code for codes in found for code in codes}) > 1


def test_each_mean_is_over_as_many_rows_as_there_are() -> None:
    rows = torch.arange(103, dtype=torch.float32)[:, None] * torch.tensor([[1.0, -2.0]])
    expected = torch.tensor([[24.5, -49.0], [74.5, -149.0], [101.0, -202.0]])
    torch.testing.assert_close(means(rows, 50), expected)
    torch.testing.assert_close(means(rows[:50], 50), expected[:1])
    torch.testing.assert_close(means(rows[:1], 50), rows[:1])


def test_the_spec_is_the_official_one(encoder: StyleEncoder) -> None:
    spec = encoder.spec
    assert (spec.name, spec.codebook_sizes, spec.sample_rate, spec.frame_rate_hz) == ("style", (12,), 16000, 1.0)
    assert (spec.hop, spec.window, spec.chunk, spec.shortest) == (16_000, 400, 1_600_000, 1280)


def test_level_and_offset_change_nothing(encoder: StyleEncoder) -> None:
    sound = audio(48_000)
    other = replace(sound, samples=0.3 * sound.samples + 0.1)
    (one,), (two,) = encoder.encode([sound]), encoder.encode([other])
    np.testing.assert_array_equal(one.codes, two.codes)


def test_pieces_are_independent(classifier_path: Path) -> None:
    encoder = build(Config(path=str(classifier_path)))
    encoder._spec = replace(encoder.spec, chunk=24_000)
    sound = audio(48_000 + 1279)
    parts = [Audio(samples=sound.samples[begin : begin + 24_000], sample_rate=16000) for begin in (0, 24_000)]
    expected = np.concatenate([units.codes for units in encoder.encode(parts)])
    np.testing.assert_array_equal(encoder.encode([sound])[0].codes, expected)


@pytest.mark.parametrize("form", ["old", "new", "folded"])
@pytest.mark.parametrize("container", ["pytorch_model.bin", "model.safetensors"])
def test_weight_norm_is_read_in_every_stored_form(encoder: StyleEncoder, copy: Path, form: str, container: str) -> None:
    state = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    magnitude = state.pop(STORED + "parametrizations.weight.original0")
    direction = state.pop(STORED + "parametrizations.weight.original1")
    names = {
        "old": ("weight_g", "weight_v"),
        "new": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    }
    if form == "folded":
        state[STORED + "weight"] = direction * (magnitude / direction.norm(dim=(0, 1), keepdim=True))
    else:
        state |= {STORED + name: value for name, value in zip(names[form], (magnitude, direction), strict=True)}
    (torch.save if container.endswith(".bin") else save_file)(state, copy / container)
    again = build(Config(path=str(copy)))
    assert again.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(again.encode([audio(48_000)])[0].codes, encoder.encode([audio(48_000)])[0].codes)


def test_another_weight_is_another_stream(encoder: StyleEncoder, copy: Path) -> None:
    state = load_file(copy / "model.safetensors")
    state["classifier.bias"] += 1e-3
    torch.save(state, copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert build(Config(path=str(copy))).fingerprint != encoder.fingerprint
    assert build(Config(path=str(copy), precision="bf16", stream="mood")).spec.name == "mood"


def test_what_is_saved_loads_in_transformers(encoder: StyleEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path).eval().requires_grad_(False)
    sound = audio(32_400)
    assert encoder.encode([sound])[0].codes[:, 0].tolist() == by_hand(model, sound)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model_type", "hubert", "model_type is 'hubert', expected 'wav2vec2'"),
        ("use_weighted_layer_sum", True, "use_weighted_layer_sum is true"),
        ("intermediate_size", 32, "has shape"),
        ("num_hidden_layers", 3, "no key 'encoder.layers.2"),
        ("num_hidden_layers", 1, "unexpected key 'encoder.layers.1"),
        ("conv_kernel", [10, 3], "no wav2vec2 configuration"),
    ],
)
def test_a_configuration_of_another_model_is_one_clear_line(copy: Path, key: str, value: Any, message: str) -> None:
    options = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(options | {key: value}))
    with pytest.raises(FormatError, match=message) as caught:
        build(Config(path=str(copy)))
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classifier.weight", None, "no key 'classifier.weight'"),
        ("projector.bias", torch.zeros(3), "'projector.bias' has shape"),
        ("wav2vec2.mystery", torch.zeros(3), "unexpected key 'mystery'"),
        ("mystery", torch.zeros(3), "unexpected key 'mystery'"),
        ("mystery", 3, "'mystery' holds int"),
        (STORED + "parametrizations.weight.original0", None, "expected it beside"),
    ],
)
def test_wrong_weights_are_one_clear_line(copy: Path, key: str, value: Any, message: str) -> None:
    state: dict[str, Any] = load_file(copy / "model.safetensors")
    state.pop(key, None)
    state |= {} if value is None else {key: value}
    (copy / "model.safetensors").unlink()
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(FormatError, match=message) as caught:
        build(Config(path=str(copy)))
    assert str(copy) in str(caught.value)


def test_missing_and_broken_files_are_data_errors(copy: Path) -> None:
    with pytest.raises(ConfigError, match="set path"):
        build(Config())
    with pytest.raises(DataError, match="no such directory"):
        build(Config(path=str(copy / "nowhere")))
    (copy / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"model.safetensors: cannot be read"):
        build(Config(path=str(copy)))
    (copy / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"pytorch_model.bin: no such file"):
        build(Config(path=str(copy)))
    (copy / "config.json").write_text("[]")
    with pytest.raises(DataError, match=r"config.json: holds list"):
        build(Config(path=str(copy)))


def test_audio_that_is_not_finite_is_an_error(encoder: StyleEncoder) -> None:
    with pytest.raises(DataError, match="nan at sample 0"):
        encoder.encode([Audio(samples=np.full(4000, np.nan, np.float32), sample_rate=16000)])
