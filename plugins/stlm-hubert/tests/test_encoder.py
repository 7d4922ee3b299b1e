"""k-means units of any Hugging Face HuBERT or wav2vec2."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import Data2VecAudioConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2Model

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio
from stlm_hubert.codebook import read_codebook
from stlm_hubert.encoder import Config, build


@pytest.fixture
def config(pretrained: Path, codebook: Path) -> Config:
    return Config(path=str(pretrained), layer=2, codebook=str(codebook))


def noise(length: int) -> np.ndarray:
    return np.random.default_rng(length).normal(0.02, 0.1, length).astype(np.float32)


def nearest(model: Any, samples: np.ndarray, codebook: Path) -> np.ndarray:
    with torch.no_grad():
        rows = model(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states[2][0]
    return torch.cdist(rows.double(), torch.from_numpy(np.load(codebook))).argmin(1).numpy()


@pytest.mark.parametrize("normalize", [None, True, False])
def test_units_are_the_nearest_centroids(
    config: Config, codebook: Path, normalize: bool | None, tiny: SimpleNamespace
) -> None:
    samples = noise(16_000)
    (units,) = build(replace(config, normalize=normalize)).encode([Audio(samples=samples, sample_rate=16000)])
    if normalize is not False:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    np.testing.assert_array_equal(units.codes[:, 0], nearest(tiny.make_hubert(), samples, codebook))
    assert len(set(units.codes[:, 0])) > 1


def test_wav2vec2_works_too(config: Config, codebook: Path, tmp_path: Path, tiny: SimpleNamespace) -> None:
    torch.manual_seed(2)
    model = Wav2Vec2Model(Wav2Vec2Config(**tiny.SIZES)).eval()
    model.save_pretrained(tmp_path)
    encoder = build(replace(config, path=str(tmp_path), normalize=False, stream="w2v"))
    (units,) = encoder.encode([Audio(samples=noise(16_000), sample_rate=16000)])
    np.testing.assert_array_equal(units.codes[:, 0], nearest(model, noise(16_000), codebook))
    assert units.spec.name == "w2v" and units.spec.hop == 640


def test_a_model_with_a_head_gives_the_units_of_its_body(config: Config, tmp_path: Path, tiny: SimpleNamespace) -> None:
    body = tiny.make_hubert()
    whole = HubertForCTC(body.config)
    whole.hubert.load_state_dict(body.state_dict())
    whole.save_pretrained(tmp_path)
    sound = Audio(samples=noise(9_000), sample_rate=16000)
    (own,) = build(replace(config, normalize=True)).encode([sound])
    (units,) = build(replace(config, path=str(tmp_path), normalize=True)).encode([sound])
    np.testing.assert_array_equal(units.codes, own.codes)


def test_long_sounds_are_cut_into_pieces(config: Config) -> None:
    encoder = build(replace(config, chunk=6400))
    samples = noise(14_000)
    (whole,) = encoder.encode([Audio(samples=samples, sample_rate=16000)])
    parts = encoder.encode([Audio(samples=part, sample_rate=16000) for part in np.split(samples, [6400, 12_800])])
    np.testing.assert_array_equal(whole.codes, np.concatenate([units.codes for units in parts]))
    assert encoder.fingerprint != build(config).fingerprint


def test_saved_options_win_over_the_config(config: Config, tmp_path: Path) -> None:
    encoder = build(replace(config, layer=1, stream="mine", chunk=6400, normalize=False))
    encoder.save(tmp_path)
    again = build(Config(path=str(tmp_path), precision="bf16"))
    assert again.spec == encoder.spec


def test_both_kinds_of_codebook_files_are_read(codebook: Path, tmp_path: Path) -> None:
    centroids = read_codebook(str(codebook))
    save_file({"centroids": centroids}, tmp_path / "c.safetensors")
    torch.testing.assert_close(read_codebook(str(tmp_path / "c.safetensors")), centroids)


def test_a_codebook_that_cannot_be_used_is_one_clear_line(config: Config, tmp_path: Path) -> None:
    cases: list[tuple[str, Any, type[Exception], str]] = [
        ("kmeans.pkl", b"", ConfigError, "convert it once"),
        ("none.npy", None, DataError, "no such file"),
        ("objects.npy", np.array([{}], dtype=object), DataError, "cannot be read as an array"),
        ("flat.npy", np.zeros(3), FormatError, "expected floats"),
        ("whole.npy", np.zeros((3, 48), np.int64), FormatError, "expected floats"),
        ("nan.npy", np.full((3, 48), np.nan), FormatError, "NaN"),
        ("narrow.npy", np.zeros((3, 40)), FormatError, "have 40 dimensions, expected 48"),
    ]
    for name, content, error, message in cases:
        if isinstance(content, np.ndarray):
            np.save(tmp_path / name, content)
        elif content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(error, match=message):
            build(replace(config, codebook=str(tmp_path / name)))
    save_file({"other": torch.zeros(3, 48)}, tmp_path / "c.safetensors")
    with pytest.raises(FormatError, match="no array 'centroids', got other"):
        build(replace(config, codebook=str(tmp_path / "c.safetensors")))


def test_wrong_options_are_config_errors(config: Config) -> None:
    for options, message in (
        ({"path": ""}, "set path"),
        ({"layer": 0}, "layer must be 1"),
        ({"codebook": ""}, "set codebook"),
        ({"chunk": 700}, "chunk must be 0 or at least 720"),
        ({"precision": "half"}, "precision must be"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(replace(config, **options))


def test_a_model_that_does_not_tell_whether_to_normalise_must_be_told(
    config: Config, tmp_path: Path, tiny: SimpleNamespace
) -> None:
    tiny.make_hubert().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="set normalize to true or false"):
        build(replace(config, path=str(tmp_path)))


def test_incomplete_and_other_models_are_refused(config: Config, tmp_path: Path, tiny: SimpleNamespace) -> None:
    tiny.make_hubert().save_pretrained(tmp_path)
    state = dict(tiny.make_hubert().state_dict())
    del state["encoder.layers.1.attention.q_proj.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FormatError, match=r"no weight 'encoder.layers.1.attention.q_proj.weight'"):
        build(replace(config, path=str(tmp_path), normalize=True))
    (tmp_path / "config.json").write_text(json.dumps(Data2VecAudioConfig().to_dict()))
    with pytest.raises(ConfigError, match="data2vec-audio"):
        build(replace(config, path=str(tmp_path), normalize=True))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="no configuration"):
        build(replace(config, path=str(tmp_path), normalize=True))
