"""The rooms that HOUSE keeps free of torch are free of it, measured in a fresh interpreter."""

import pytest

from stlm.testing.imports import assert_light, loaded_by


def test_rooms_without_torch_load_none() -> None:
    assert_light(
        "stlm",
        "stlm.errors",
        "stlm.types",
        "stlm.audio",
        "stlm.interfaces",
        "stlm.plugin",
        "stlm.codec",
        "stlm.interleave",
        "stlm.store",
        "stlm.builtins",
    )


def test_the_check_itself_sees_torch() -> None:
    assert loaded_by(["stlm.interfaces.backbone"]) == ["torch"]
    with pytest.raises(AssertionError, match="no_such_module"):
        loaded_by(["no_such_module"])


def test_types_do_no_input_or_output() -> None:
    assert_light("stlm.types", heavy=("soundfile", "pyarrow", "yaml", "pluggy", "torch"))
