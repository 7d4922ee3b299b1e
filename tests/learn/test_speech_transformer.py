"""The fast pass equals Hugging Face's own, for any batch, length, layer and kind of norm."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2Config, Wav2Vec2Model

from stlm.errors import ConfigError
from stlm.learn import speech_frontend
from stlm.learn.linear import Linear, can_pack
from stlm.learn.position_convolution import PositionConvolution
from stlm.learn.speech_transformer import Attention, SpeechTransformer

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [32] * 8,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "group norm": {},
    "layer norm": {"feat_extract_norm": "layer", "conv_bias": True},
    "large": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
    "other strides": {
        "conv_kernel": [10, 4, 3, 3, 4],
        "conv_stride": [4, 3, 2, 3, 2],
        "conv_dim": [32, 16, 24, 16, 32],
    },
    "odd taps": {"num_conv_pos_embeddings": 15, "num_conv_pos_embedding_groups": 2},
    "other activations": {"hidden_act": "relu", "feat_extract_activation": "silu"},
}
KINDS = {"hubert": (HubertConfig, HubertModel), "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model)}


def make_model(kind: str = "hubert", **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    config, model = KINDS[kind]
    return model(config(**SIZES | options)).eval()


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, length]).normal(0.01, 0.1, length).astype(np.float32)


@torch.no_grad()
def expected(model: Any, wave: np.ndarray, layer: int | None) -> torch.Tensor:
    result = model(torch.from_numpy(wave)[None], output_hidden_states=True)
    last = layer is None or layer >= len(model.encoder.layers)
    return (result.last_hidden_state if last else result.hidden_states[layer])[0]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return make_model()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_equals_the_model_itself_at_every_layer(kind: str, variant: str) -> None:
    model = make_model(kind, **VARIANTS[variant])
    for layer in (1, 2, 3, 9, None):
        transformer = SpeechTransformer(model, layer=layer)
        waves = [noise(length) for length in (20_000, transformer.window, 5_001)]
        for wave, got in zip(waves, transformer.hidden(waves), strict=True):
            torch.testing.assert_close(got, expected(model, wave, layer), atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", ["group norm", "large", "other strides"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.05), ("bf16-fast", 0.05)])
def test_a_batch_gives_what_singles_give(variant: str, precision: Any, tolerance: float) -> None:
    transformer = SpeechTransformer(make_model(**VARIANTS[variant]), precision=precision)
    edges = [transformer.window + frames * transformer.hop + change for frames in (0, 1, 2) for change in (-1, 0, 1)]
    waves = [noise(length) for length in (16_000, 3_000, *edges, 16_000, 40_000, 0, 3_001)]
    for wave, together in zip(waves, transformer.hidden(waves), strict=True):
        (alone,) = transformer.hidden([wave])
        assert together.shape == (transformer.num_frames(len(wave)), 48)
        torch.testing.assert_close(together, alone, atol=tolerance, rtol=0)


def test_loud_company_changes_nothing(model: torch.nn.Module) -> None:
    transformer = SpeechTransformer(model)
    quiet, loud = 1e-3 * noise(3_000), 1e3 * noise(9_000)
    (alone,) = transformer.hidden([quiet])
    for batch, place in (([quiet, loud], 0), ([loud, quiet], 1)):
        torch.testing.assert_close(transformer.hidden(batch)[place], alone, atol=1e-5, rtol=0)


def test_lengths_follow_the_convolutions(model: Any) -> None:
    transformer = SpeechTransformer(model)
    assert (transformer.hop, transformer.window) == (640, 720)
    for length in (0, 1, 719, 720, 1359, 1360, 50_000):
        lengths = model._get_feat_extract_output_lengths(torch.tensor(length))
        assert transformer.num_frames(length) == max(0, int(lengths))
    assert [rows.shape for rows in transformer.hidden([noise(719), noise(0)])] == [(0, 48), (0, 48)]
    assert transformer.hidden([]) == []


@pytest.mark.parametrize("variant", ["group norm", "large", "other strides"])
def test_blocks_leave_no_trace(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transformer = SpeechTransformer(make_model(**VARIANTS[variant]))
    wave = noise(48_000)
    (whole,) = transformer.hidden([wave])
    monkeypatch.setattr(speech_frontend, "STATISTICS_BLOCK", 1000)
    for rows in (7, 64):
        monkeypatch.setattr(speech_frontend, "BLOCK", rows)
        torch.testing.assert_close(transformer.hidden([wave])[0], whole, atol=1e-5, rtol=0)


def test_waves_are_normalised_over_their_whole_length(model: torch.nn.Module) -> None:
    wave = noise(9_000) + 0.3
    plain = ((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)).astype(np.float32)
    normalising = SpeechTransformer(model, normalize=True)
    torch.testing.assert_close(
        normalising.hidden([wave])[0], SpeechTransformer(model).hidden([plain])[0], atol=1e-4, rtol=0
    )
    assert bool(normalising.hidden([np.zeros(2_000, np.float32)])[0].isfinite().all())


def test_an_offset_and_silence_are_no_trouble(model: torch.nn.Module) -> None:
    transformer = SpeechTransformer(model)
    for wave in (np.zeros(4_000, np.float32), np.full(4_000, 0.5, np.float32)):
        (got,) = transformer.hidden([wave])
        assert bool(got.isfinite().all())
    offset = 0.5 + noise(9_000)
    torch.testing.assert_close(transformer.hidden([offset])[0], expected(model, offset, None), atol=1e-3, rtol=0)


@pytest.mark.parametrize("variant", ["group norm", "large"])
def test_bfloat16_is_close(variant: str) -> None:
    model = make_model(**VARIANTS[variant])
    waves = [noise(length) for length in (20_000, 3_000)]
    exact = torch.cat(SpeechTransformer(model).hidden(waves))
    rounded = torch.cat(SpeechTransformer(model, precision="bf16").hidden(waves))
    assert rounded.dtype == torch.float32
    error = (rounded - exact).norm() / exact.norm()
    assert 1e-5 < error < 0.03


def test_it_does_not_write_into_its_input_and_pickles(model: torch.nn.Module) -> None:
    transformer = SpeechTransformer(model, precision="bf16")
    wave = noise(4_000)
    before = wave.copy()
    (first,) = transformer.hidden([wave])
    np.testing.assert_array_equal(wave, before)
    torch.testing.assert_close(pickle.loads(pickle.dumps(transformer)).hidden([wave])[0], first, atol=0, rtol=0)


def test_padded_attention_equals_attention_piece_by_piece() -> None:
    torch.manual_seed(0)
    for lengths in ([5, 1, 9], [4, 4]):
        qkv = torch.randn(sum(lengths), 3, 2, 8)
        each, padded = (Attention(lengths, torch.device("cpu"), padded=choice)(qkv) for choice in (False, True))
        torch.testing.assert_close(padded, each, atol=1e-5, rtol=0)


@pytest.mark.parametrize("taps", [5, 8])
def test_the_transform_equals_the_convolution(taps: int) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv1d(12, 12, taps, padding=taps // 2, groups=3)
    position = PositionConvolution(convolution, torch.device("cpu"))
    lengths = [1, 40, 3]
    rows = torch.randn(sum(lengths), 12)
    pieces = [convolution(piece.T[None])[0].T[: len(piece)] for piece in rows.split(lengths)]
    torch.testing.assert_close(position(rows, lengths), torch.cat(pieces), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gelu", [False, True])
def test_packed_weights_give_what_plain_ones_give(
    dtype: torch.dtype, gelu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_pack(dtype):
        pytest.skip("this torch has no packed products on this processor")
    torch.manual_seed(0)
    weight, bias, rows = torch.randn(24, 40), torch.randn(24), torch.randn(7, 40).to(dtype)
    packed = Linear(weight, bias, dtype=dtype, device=torch.device("cpu"))
    monkeypatch.setattr("stlm.learn.linear.can_pack", lambda _: False)
    plain = Linear(weight, bias, dtype=dtype, device=torch.device("cpu"))
    tolerance = 1e-4 if dtype == torch.float32 else 0.2
    torch.testing.assert_close(packed(rows, gelu=gelu), plain(rows, gelu=gelu), atol=tolerance, rtol=0)
    other = torch.randn(7, 24)
    torch.testing.assert_close(packed.plus(rows, other), plain.plus(rows, other), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({}, {"layer": 0}, "layer must be 1"),
        ({}, {"precision": "fp16"}, "precision must be one of fp32, bf16, bf16-fast"),
        ({"conv_pos_batch_norm": True}, {}, "conv_pos_batch_norm"),
    ],
)
def test_what_it_cannot_do_is_a_config_error(options: dict, arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpeechTransformer(make_model(**options), **arguments)


def test_other_architectures_are_refused(model: Any) -> None:
    model = make_model()
    model.config.model_type = "wavlm"
    with pytest.raises(ConfigError, match="expected one of hubert, wav2vec2"):
        SpeechTransformer(model)
