"""The list of convolutions is parsed, and whatever is not such a list is one clear line."""

from __future__ import annotations

import pytest

from stlm.errors import FormatError
from stlm_hubert.layer_list import parse_layers


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("[(512,10,5)]", [(512, 10, 5)]),
        (
            "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 3",
            [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 3,
        ),
        (" [ (1,2,3), (4,5,6,) , ]*2 ", [(1, 2, 3), (4, 5, 6)] * 2),
        ("[] + [(1,1,1)]", [(1, 1, 1)]),
    ],
)
def test_lists_are_added_and_multiplied(text: str, layers: list[tuple[int, int, int]]) -> None:
    assert parse_layers(text, "file") == layers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[(1,2)]",
        "[(1,2,3]",
        "[(1,2,3)] *",
        "[(1,2,3)] * 0",
        "[(1,2,-3)]",
        "[(1,2,0)]",
        "[(1,2,3)] [(1,2,3)]",
        "[(1,2,3) (1,2,3)]",
        "[(1,2,3)] * 2 * 2",
        "[(1,2,3)] * 99999999",
        "[(1,2,3)] * 99999999999999999999",
        "__import__('os').system('true')",
        "[(1,2,3)] + open('x')",
        "[(1.5,2,3)]",
        "(" * 5000,
    ],
)
def test_anything_else_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError, match=r"^file.pt: model_cfg 'conv': .*expected") as caught:
        parse_layers(text, "file.pt: model_cfg 'conv'")
    assert len(str(caught.value)) < 500
