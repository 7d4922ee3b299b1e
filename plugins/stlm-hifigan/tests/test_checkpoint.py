"""Both stored forms of weight normalisation, both layouts; damaged files are one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import DataError, FormatError
from stlm_hifigan.checkpoint import load_checkpoint
from stlm_hifigan.vocoder import Config, build

from .conftest import BASE, EXPRESSIVE, random_generator, write


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("tables", [BASE, EXPRESSIVE])
def test_weight_norm_is_folded_from_both_stored_forms(tmp_path: Path, tables: dict, form: str) -> None:
    loaded = load_checkpoint(write(tmp_path, tables, form=form)).generator.state_dict()
    wanted = random_generator(tables).state_dict()
    assert list(loaded) == list(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(loaded[name], value, atol=1e-6, rtol=1e-6)


def test_loading_leaves_the_global_generator_alone(base_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_checkpoint(base_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_saved_holds_no_pickle_and_loads_bit_by_bit(base_path: Path, tmp_path: Path) -> None:
    build(Config(path=str(base_path))).save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "generator.safetensors",
        "speakers.txt",
        "styles.txt",
    }
    for (name, one), two in zip(
        load_checkpoint(base_path).generator.state_dict().items(),
        load_checkpoint(tmp_path).generator.state_dict().values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=name)


def test_the_hop_is_the_product_of_the_rates(base_path: Path) -> None:
    assert load_checkpoint(base_path).generator.options.hop == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resblock": "2"}, "key 'resblock' is '2', expected '1'"),
        ({"f0": True}, "key 'f0' is True"),
        ({"embedder_params": {"a": 1}}, "'embedder_params'"),
        ({"upsample_rates": "54"}, "'upsample_rates' holds str, expected list"),
        ({"upsample_rates": []}, "'upsample_rates' is empty"),
        ({"upsample_rates": [5, 4]}, "2 entries and upsample_kernel_sizes 3"),
        ({"upsample_rates": [5, -4, 2]}, "'upsample_rates' is -4, expected a positive integer"),
        ({"upsample_kernel_sizes": [10, 8, 4]}, "10 with rate 5, expected the rate plus an even number"),
        ({"upsample_initial_channel": 12}, "is 12, expected a multiple of 8"),
        ({"resblock_kernel_sizes": [3, 7, 10]}, "10, expected odd"),
        ({"resblock_dilation_sizes": [[1, 3, 5]]}, "resblock_dilation_sizes 1, expected equally many"),
        ({"code_hop_size": 320}, "'code_hop_size' is 320, expected 40"),
        ({"model_in_dim": 512}, "'model_in_dim' is 512, expected 18"),
        ({"sampling_rate": "16k"}, "'sampling_rate' is '16k'"),
        ({"num_f0_tokens": 64}, r"no key 'f0_dict\.weight'"),
        ({"dur_predictor_params": None}, "'dur_predictor_params' holds NoneType"),
        ({"dur_predictor_params": {"var_pred_hidden_dim": 5, "var_pred_kernel_size": 5}}, "is 5, expected 3"),
        ({"dur_predictor_params": {"var_pred_hidden_dm": 5, "var_pred_kernel_size": 3}}, "did you mean"),
        ({"dur_predictor_params": {"var_pred_hidden_dim": 7, "var_pred_kernel_size": 3}}, r"expected \[7, 6, 3\]"),
        ({"upsample_initial_channel": 32}, "expected"),
        ({"stlm": {"default_voice": "two"}}, "'default_voice' is 'two', expected int"),
        ({"stlm": []}, "'stlm' holds list, expected dict"),
    ],
)
def test_settings_that_do_not_fit_are_format_errors(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        build(Config(path=str(write(tmp_path, BASE, **changes))))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["upsample_rates", "resblock_kernel_sizes", "upsample_initial_channel"])
def test_a_missing_setting_is_named(tmp_path: Path, key: str) -> None:
    file = write(tmp_path, BASE) / "config.json"
    settings = json.loads(file.read_text())
    settings[key[:-1]] = settings.pop(key)
    file.write_text(json.dumps(settings))
    with pytest.raises(FormatError, match=rf"no key '{key}' \(did you mean '{key[:-1]}'\?\)"):
        load_checkpoint(tmp_path)


def test_missing_and_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        load_checkpoint(tmp_path)
    write(tmp_path, BASE)
    weights = tmp_path / "generator.pt"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"generator\.pt: cannot be read"):
        load_checkpoint(tmp_path)
    weights.unlink()
    with pytest.raises(DataError, match=r"generator\.pt: no such file"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json: cannot be read as JSON"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(DataError, match="holds list"):
        load_checkpoint(tmp_path)


def test_weights_that_are_objects_are_not_loaded(tmp_path: Path) -> None:
    write(tmp_path, BASE)
    torch.save({"generator": Path("somewhere")}, tmp_path / "generator.pt")
    with pytest.raises(DataError, match="Python objects"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_pre.bias": None}, r"no key 'conv_pre\.bias'"),
        ({"conv_pre.weight_g": None}, r"no key 'conv_pre\.weight_g', expected it beside"),
        ({"extra.weight": torch.zeros(2)}, r"unexpected key 'extra\.weight'"),
        ({"spkr.weight": torch.zeros(3)}, r"'spkr\.weight' has shape \[3\], expected \[rows, width\]"),
        ({"spkr.weight": None}, r"no key 'spkr\.weight'"),
        ({"conv_post.bias": torch.zeros(2)}, r"'conv_post\.bias' has shape \[2\], expected \[1\]"),
        ({"conv_post.bias": "zero"}, r"'conv_post\.bias' holds str, expected a tensor"),
    ],
)
def test_weights_that_do_not_fit_are_format_errors(tmp_path: Path, change: dict, message: str) -> None:
    file = write(tmp_path, BASE) / "generator.pt"
    state = torch.load(file, weights_only=True)["generator"]
    for key, value in change.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    torch.save({"generator": state}, file)
    with pytest.raises(FormatError, match=message) as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_another_container_is_a_format_error(tmp_path: Path) -> None:
    file = write(tmp_path, BASE) / "generator.pt"
    torch.save({"generatr": {}}, file)
    with pytest.raises(FormatError, match=r"no key 'generator' \(did you mean 'generatr'\?\)"):
        load_checkpoint(tmp_path)


def test_more_names_than_rows_is_a_format_error(tmp_path: Path) -> None:
    write(tmp_path, BASE)
    (tmp_path / "speakers.txt").write_text("a\nb\nc\nd\ne\n")
    with pytest.raises(FormatError, match=r"speakers\.txt: 5 names for 4 rows"):
        load_checkpoint(tmp_path)
