"""The official layout: equal units to a plain pass, blanks, pieces, and one clear line for every fault of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio
from stlm_hubert.encoder_25hz import Config, Hubert25HzEncoder, build
from stlm_hubert.official import hubert_options
from stlm_hubert.quantizer import QuantizerSizes, fill_blanks

BLANK = 60


@pytest.fixture(scope="module")
def encoder(official: Path) -> Hubert25HzEncoder:
    return build(Config(path=str(official)))


def audio(length: int, seed: int = 0) -> Audio:
    samples = np.random.default_rng([seed, length]).normal(0, 0.1, length).astype(np.float32)
    return Audio(samples=samples, sample_rate=16000)


@torch.no_grad()
def plain_codes(sound: Audio, tiny: SimpleNamespace) -> np.ndarray:
    """Raw argmax of a plain pass with Hugging Face's model, blanks left in."""
    rows = tiny.make_hubert()(torch.from_numpy(sound.samples)[None]).last_hidden_state[0]
    state = tiny.make_quantizer_state(QuantizerSizes(**tiny.QUANTIZER_CFG))
    for place in (0, 2, 4):
        rows = F.linear(rows, state[f"{place}.weight"], state[f"{place}.bias"])
        rows = F.leaky_relu(rows, 0.01) if place < 4 else rows
    return rows.argmax(1).numpy()


def filled_by_shifting(codes: np.ndarray) -> np.ndarray:
    """The blank rule to the letter: every blank takes its left neighbour's value, around the end, again and again."""
    for _ in range(len(codes)):
        codes = np.where(codes == BLANK, np.roll(codes, 1), codes)
    return codes


def test_units_equal_those_of_a_plain_pass(encoder: Hubert25HzEncoder, tiny: SimpleNamespace) -> None:
    sounds = [audio(length) for length in (40_000, 1280, 16_000, 1999)]
    blanks = 0
    for sound, units in zip(sounds, encoder.encode(sounds), strict=True):
        raw = plain_codes(sound, tiny)
        blanks += int((raw == BLANK).sum())
        np.testing.assert_array_equal(units.codes[:, 0], filled_by_shifting(raw))
    assert blanks > 0


def test_the_spec_is_the_official_one(encoder: Hubert25HzEncoder) -> None:
    spec = encoder.spec
    assert (spec.name, spec.codebook_sizes, spec.sample_rate) == ("hubert", (61,), 16000)
    assert (spec.hop, spec.window, spec.chunk, spec.shortest) == (640, 720, 1_600_000, 1280)


@pytest.mark.parametrize("length", [1, 2, 7, 30])
def test_blanks_take_the_last_unit_before_them_around_the_end(length: int) -> None:
    rng = np.random.default_rng(length)
    for share in (0.2, 0.5, 0.9):
        codes = np.where(rng.random(length) < share, BLANK, rng.integers(0, 5, length))
        np.testing.assert_array_equal(fill_blanks(codes, BLANK), filled_by_shifting(codes))


def test_all_blank_stays_blank() -> None:
    assert fill_blanks(np.full(4, BLANK), BLANK).tolist() == [BLANK] * 4
    assert fill_blanks(np.zeros(0, np.int64), BLANK).tolist() == []


def test_blanks_never_reach_into_another_piece_or_sound(official: Path, tmp_path: Path, tiny: SimpleNamespace) -> None:
    model, quantizer = tiny.official_content()
    quantizer["model_weight"]["4.bias"][-1] += 1e6  # all is blank
    silent = build(Config(path=str(tiny.write_official(tmp_path, model, quantizer))))
    assert all((units.codes == BLANK).all() for units in silent.encode([audio(5000), audio(9000)]))


def test_pieces_are_independent_and_short_ones_give_nothing(official: Path) -> None:
    encoder = build(Config(path=str(official)))
    encoder._spec = replace(encoder.spec, chunk=8000)
    sound = audio(2 * 8000 + 1279)
    (whole,) = encoder.encode([sound])
    parts = [Audio(samples=sound.samples[begin : begin + 8000], sample_rate=16000) for begin in (0, 8000)]
    np.testing.assert_array_equal(whole.codes, np.concatenate([units.codes for units in encoder.encode(parts)]))
    assert [len(units) for units in encoder.encode([audio(1279), audio(1280), audio(0)])] == [0, 1, 0]


def test_both_layouts_give_one_fingerprint(encoder: Hubert25HzEncoder, tmp_path: Path, tiny: SimpleNamespace) -> None:
    encoder.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert build(Config(path=str(tmp_path), precision="bf16")).fingerprint == encoder.fingerprint
    model, quantizer = tiny.official_content()
    model["model_weight"]["encoder.layers.0.fc1.bias"] += 1e-3
    other = build(Config(path=str(tiny.write_official(tmp_path / "other", model, quantizer))))
    assert other.fingerprint != encoder.fingerprint


def test_layers_above_the_eleventh_are_not_read(tiny: SimpleNamespace) -> None:
    assert hubert_options(tiny.MODEL_CFG | {"encoder_layers": 12}, "file")["num_hidden_layers"] == 11
    assert hubert_options(tiny.MODEL_CFG | {"encoder_layers": 4}, "file")["num_hidden_layers"] == 4


def test_absent_options_have_the_published_defaults() -> None:
    options = hubert_options({}, "file")
    assert options["hidden_size"] == 768 and options["intermediate_size"] == 3072
    assert options["conv_kernel"] == [10, 3, 3, 3, 3, 2, 2] and options["conv_stride"] == [5, 2, 2, 2, 2, 2, 2]
    assert options["conv_dim"] == [512] * 7 and options["conv_bias"] is False


@pytest.mark.parametrize(
    ("sizes", "widths"), [((500, 768, 768), (768, 702, 635, 501)), ((500, 48, 48), (48, 162, 275, 501))]
)
def test_quantizer_sizes_round_down_also_below_zero(sizes: tuple[int, ...], widths: tuple[int, ...]) -> None:
    vocab_size, dim, upstream_dim = sizes
    assert QuantizerSizes(vocab_size=vocab_size, dim=dim, upstream_dim=upstream_dim).widths == widths


def change(place: str, key: str, value: Any) -> Callable[[Any, Any], None]:
    def apply(model: Any, quantizer: Any) -> None:
        target = {"model": model, "quantizer": quantizer}[place.split(".")[0]]
        for part in place.split(".")[1:]:
            target = target[part]
        if value is None:
            del target[key]
        else:
            target[key] = value

    return apply


FAULTS: list[tuple[Callable[[Any, Any], None], str]] = [
    (change("model", "model_cfg", None), r"mhubert_base_25hz.pt: no key 'model_cfg'"),
    (change("model", "task_cfg", None), "no key 'task_cfg'"),
    (change("model", "model_weight", None), "no key 'model_weight'"),
    (change("model", "model_weight", [1]), "'model_weight' holds list, expected dict"),
    (change("model.task_cfg", "normalize", True), "'normalize' is True, expected False"),
    (change("model.task_cfg", "sample_rate", 8000), "'sample_rate' is 8000, expected 16000"),
    (change("model.model_cfg", "encoder_embed_dim", "48"), "'encoder_embed_dim' is '48', expected int"),
    (change("model.model_cfg", "encoder_attention_heads", 5), "'encoder_attention_heads' is 5, expected a divisor"),
    (change("model.model_cfg", "extractor_mode", "layer_norm"), "'extractor_mode' is 'layer_norm', expected 'default'"),
    (change("model.model_cfg", "conv_feature_layers", "exit()"), "'conv_feature_layers': no '\\['"),
    (change("model.model_cfg", "encoder_ffn_embed_dim", 32), "has shape"),
    (change("model.model_weight", "encoder.layers.1.fc1.weight", None), "no key 'encoder.layers.1.feed_forward"),
    (change("model.model_weight", "encoder.pos_conv.0.weight_g", None), "weight.*expected it beside"),
    (change("model.model_weight", "mystery.weight", torch.zeros(1)), "unexpected key 'mystery.weight'"),
    (change("model.model_weight", "mystery.weight", 3), "'mystery.weight' holds int, expected a tensor"),
    (change("quantizer", "model_weight", None), "L11_quantizer_500.pt: no key 'model_weight'"),
    (change("quantizer.model_cfg", "dim", None), "L11_quantizer_500.pt: no key 'dim'"),
    (change("quantizer.model_cfg", "dim", 64), "'dim' is 64, expected 48"),
    (change("quantizer.model_cfg", "upstream_dim", 1000), "expected positive numbers"),
    (change("quantizer.model_weight", "2.bias", None), "L11_quantizer_500.pt: no key '2.bias'"),
    (change("quantizer.model_weight", "4.weight", torch.zeros(3, 3)), "'4.weight' has shape"),
]


@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_a_wrong_file_is_one_clear_line(
    fault: Callable[[Any, Any], None], message: str, tmp_path: Path, tiny: SimpleNamespace
) -> None:
    model, quantizer = tiny.official_content()
    fault(model, quantizer)
    tiny.write_official(tmp_path, model, quantizer)
    with pytest.raises(FormatError, match=message) as caught:
        build(Config(path=str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files_are_data_errors(official: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set path"):
        build(Config())
    with pytest.raises(DataError, match="no such directory"):
        build(Config(path=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match=r"mhubert_base_25hz.pt: no such file"):
        build(Config(path=str(tmp_path)))
    content = (official / "mhubert_base_25hz.pt").read_bytes()
    (tmp_path / "mhubert_base_25hz.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"mhubert_base_25hz.pt: cannot be read"):
        build(Config(path=str(tmp_path)))


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


def test_nothing_in_a_file_is_run(tmp_path: Path, tiny: SimpleNamespace) -> None:
    model, quantizer = tiny.official_content()
    tiny.write_official(tmp_path, model | {"extra": Malicious()}, quantizer)
    with pytest.raises(DataError, match="holds Python objects"):
        build(Config(path=str(tmp_path)))


def test_audio_that_is_not_finite_is_an_error(encoder: Hubert25HzEncoder) -> None:
    samples = np.zeros(4000, np.float32)
    samples[7] = np.nan
    with pytest.raises(DataError, match="nan at sample 7"):
        encoder.encode([Audio(samples=samples, sample_rate=16000)])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_broken_saved_encoder_is_one_clear_line(encoder: Hubert25HzEncoder, name: str, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    (tmp_path / name).write_text("{")
    with pytest.raises(DataError, match=name):
        build(Config(path=str(tmp_path)))
