"""Foreign weights: data only, every fault named, weight normalisation folded in both stored forms."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stlm.errors import DataError, FormatError
from stlm.learn.weights import compact, entry, fold_weight_norm, load_exactly, read_weights, round_to_half

PATH = "weights.pt"


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_both_file_kinds_give_the_tensors(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0)}
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"model": state, "cfg": {"rate": 25}}, tmp_path / "a.pt")
    assert torch.equal(read_weights(tmp_path / "a.safetensors")["a"], state["a"])
    assert read_weights(tmp_path / "a.pt")["cfg"] == {"rate": 25}


def test_objects_in_a_file_are_refused_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, tmp_path / "bad.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb()))
    for name in ("bad.pt", "plain.pt"):
        with pytest.raises(DataError, match=f"{name}: (holds Python objects|cannot be read)"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_missing_truncated_and_odd_files_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.pt: no such file"):
        read_weights(tmp_path / "gone.pt")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "cut.pt")
    whole = (tmp_path / "cut.pt").read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut.pt: .*copy it again|cut.pt: .*export"):
            read_weights(tmp_path / "cut.pt")
    save_file({"a": torch.zeros(1000)}, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:100])
    with pytest.raises(DataError, match=r"cut.safetensors: cannot be read as weights"):
        read_weights(tmp_path / "cut.safetensors")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(DataError, match=r"list.pt: holds list, expected a mapping"):
        read_weights(tmp_path / "list.pt")


def test_an_entry_is_there_and_of_its_type() -> None:
    assert entry({"model": {"a": 1}}, "model", dict, PATH) == {"a": 1}
    with pytest.raises(FormatError, match=r"weights.pt: no key 'modl' \(did you mean 'model'\?\)"):
        entry({"model": {}}, "modl", dict, PATH)
    with pytest.raises(FormatError, match="key 'model' holds list, expected dict"):
        entry({"model": []}, "model", dict, PATH)


def test_a_module_is_filled_exactly_or_the_first_fault_is_named() -> None:
    module, state = nn.Linear(3, 2), {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    load_exactly(module, {**state, "final_proj.weight": torch.ones(1)}, PATH, ignore=["final_proj.*"])
    assert torch.equal(module.weight, state["weight"])
    with pytest.raises(FormatError, match=r"weights.pt: no key 'bias' of shape \[2\]"):
        load_exactly(module, {"weight": state["weight"]}, PATH)
    load_exactly(module, {"weight": state["weight"] * 2}, PATH, absent=["bias"])
    assert torch.equal(module.weight, state["weight"] * 2)
    with pytest.raises(FormatError, match=r"unexpected key 'biass' \(did you mean 'bias'\?\) \(and 1 more\)"):
        load_exactly(module, {**state, "biass": torch.ones(1), "other": torch.ones(1)}, PATH)
    with pytest.raises(FormatError, match=r"key 'weight' has shape \[3, 2\], expected \[2, 3\]"):
        load_exactly(module, {**state, "weight": torch.ones(3, 2)}, PATH)
    with pytest.raises(FormatError, match="key 'bias' holds str, expected a tensor"):
        load_exactly(module, {**state, "bias": "zeros"}, PATH)


@pytest.mark.parametrize("dim", [0, 2])
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_both_forms_of_weight_norm_fold_to_the_weight_that_is_used(dim: int) -> None:
    old = nn.utils.weight_norm(nn.Conv1d(4, 6, 3), dim=dim)
    new = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3), dim=dim)
    for conv in (old, new):
        with torch.no_grad():
            for name, value in conv.named_parameters():
                value.normal_(1.0 if name.endswith(("_g", "original0")) else 0.0)
        sound = torch.randn(1, 4, 9)
        expected = conv(sound)
        folded = fold_weight_norm({f"conv.{name}": value for name, value in conv.state_dict().items()}, PATH)
        assert set(folded) == {"conv.weight", "conv.bias"}
        got = nn.functional.conv1d(sound, folded["conv.weight"], folded["conv.bias"])
        torch.testing.assert_close(got, expected)


def test_half_a_pair_is_named() -> None:
    with pytest.raises(FormatError, match=r"no key 'conv.weight_v', expected it beside 'conv.weight_g'"):
        fold_weight_norm({"conv.weight_g": torch.ones(2, 1, 1)}, PATH)


def test_compact_halves_what_loses_nothing_by_it() -> None:
    rounded = nn.Linear(3, 2)
    round_to_half(rounded)
    other = nn.Linear(3, 2)
    found = compact({"rounded": rounded.weight, "other": other.weight, "count": torch.arange(3)})
    assert {name: value.dtype for name, value in found.items()} == {
        "rounded": torch.float16,
        "other": torch.float32,
        "count": torch.int64,
    }
    assert torch.equal(found["rounded"].float(), rounded.weight) and torch.equal(found["other"], other.weight)
