"""A format is data: it survives YAML, and a slip in it is found when it is read."""

from typing import Any

import pytest
import yaml

from stlm.errors import FormatError
from stlm.testing.factories import base_format, codebook_format, expressive_format, two_layout_format
from stlm.types import Format

FORMATS = [base_format(), expressive_format(), codebook_format(), two_layout_format()]


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_survives_yaml(format: Format) -> None:
    again = Format.from_dict(yaml.safe_load(yaml.safe_dump(format.as_dict(), sort_keys=False)))
    assert again == format and again.sha256 == format.sha256


def changed(**changes: Any) -> Format:
    return Format.from_dict({**base_format().as_dict(), **changes})


def rule(**changes: Any) -> dict[str, Any]:
    return {"layouts": {"default": [{"stream": "hubert", "rate_hz": 25.0, "anchor": True, **changes}]}}


@pytest.mark.parametrize(
    "changes",
    [
        {"bos": 1},
        {"eos": None},
        {"after_marker": "no_prefix"},
        {"markers": {"text": "[Speech]", "speech": "[Text]"}},
        rule(rate_hz=24.99),
        rule(dedup=False),
        rule(carry=False),
        {"blocks": base_format().as_dict()["blocks"][::-1]},
    ],
)
def test_everything_that_decides_ids_is_in_the_hash(changes: dict[str, Any]) -> None:
    assert changed(**changes).sha256 != base_format().sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": []}, r"format: unknown key 'block' \(did you mean 'blocks'\?\)"),
        (
            {"layouts": {"default": [{"stream": "hubert", "rate": 25.0, "anchor": True}]}},
            r"'rate' \(did you mean 'rate_hz'",
        ),
        ({"layouts": {"default": [{"stream": "hubert", "anchor": True}]}}, r"layout 'default'.*rate_hz"),
        (rule(stream="huberd"), r"layout 'default' uses stream 'huberd'"),
        (rule(anchor=False), r"exactly one anchor stream, got \[\]"),
        (rule(rate_hz=0.0), r"'hubert' needs a positive rate_hz, got 0"),
        (
            {"layouts": {"default": rule()["layouts"]["default"] * 2}},
            r"exactly one anchor stream, got \['hubert', 'hubert'\]",
        ),
        ({"markers": {"text": "[TEXT]"}}, r"no marker '\[TEXT\]'"),
        ({"markers": {"txt": "[Text]"}}, r"markers: unknown key 'txt' \(did you mean 'text'\?\)"),
        ({"after_marker": "no_prefx"}, r"no_prefx.*did you mean 'no_prefix'"),
        ({"eos": 99_999}, r"eos is 99999, outside the vocabulary"),
        ({"bos": "[Begin]"}, r"no marker '\[Begin\]'"),
        ({"blocks": [{"name": "text"}]}, r"block.*size"),
        ({"blocks": [{"name": "text", "sise": 3}]}, r"'sise' \(did you mean 'size'"),
    ],
)
def test_a_slip_is_found_and_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        changed(**changes)


def test_specials_may_be_given_by_symbol() -> None:
    blocks = [*base_format().as_dict()["blocks"], {"name": "specials", "symbols": ["<s>", "</s>"]}]
    format = changed(blocks=blocks, bos="<s>", eos="</s>")
    assert format.vocabulary.show(format.bos or 0) == "<s>" and format.eos == format.vocabulary.id_of("</s>")


def test_speech_blocks_are_those_of_any_layout() -> None:
    assert two_layout_format().speech_blocks == {"hubert", "mimi"}
    assert expressive_format().layout("default").anchor == 2
    with pytest.raises(FormatError, match=r"'defualt', only \['default'\].*did you mean 'default'"):
        base_format().layout("defualt")


def test_the_official_sizes_give_the_official_ids() -> None:
    """32,667 ids, in the order of the published checkpoints."""
    format = Format.from_dict(
        {
            "blocks": [
                {"name": "text", "size": 32000},
                {"name": "markers", "symbols": ["[Text]", "[Speech]"]},
                {"name": "hubert", "size": 501, "symbol": "[Hu{}]"},
                {"name": "pitch", "size": 64, "symbol": "[Pi{}]"},
                {"name": "style", "size": 100, "symbol": "[St{}]"},
            ],
            "layouts": expressive_format().as_dict()["layouts"],
            "bos": 1,
            "eos": 2,
        }
    )
    places = {"[Text]": 32000, "[Speech]": 32001, "[Hu0]": 32002, "[Pi0]": 32503, "[St0]": 32567, "[St99]": 32666}
    assert {symbol: format.vocabulary.show(id) for symbol, id in places.items()} == {
        symbol: symbol for symbol in places
    }
    assert len(format.vocabulary) == 32667
