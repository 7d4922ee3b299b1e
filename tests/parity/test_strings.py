"""The official string format, malformed strings included."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from stlm.errors import DataError
from stlm_spiritlm.strings import (
    ends_with_speech,
    last_speech_start,
    split_modalities,
    starts_with_speech,
    string_to_units,
    to_integers,
    units_to_string,
)


@pytest.fixture(scope="module")
def cases(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "strings.json").read_text())


def test_strings_become_the_units_of_the_reference(cases: dict[str, Any]) -> None:
    assert len(cases["strings"]) == 39
    for case in cases["strings"]:
        for key, duplicate in (("units", False), ("units_dup_pitch", True)):
            if isinstance(case[key], str):  # the reference fails with a TypeError
                with pytest.raises(DataError, match="pitch only"):
                    string_to_units(case["s"], legacy_duplicate_hubert=duplicate)
                continue
            found = string_to_units(case["s"], legacy_duplicate_hubert=duplicate, rng=random.Random(0))
            assert found == case[key], case["s"]


def test_strings_are_cut_where_the_reference_cuts_them(cases: dict[str, Any]) -> None:
    for case in cases["strings"]:
        text = case["s"]
        assert [list(chunk) for chunk in split_modalities(text)] == case["parse_speech_and_text"], text
        assert starts_with_speech(text) == case["starts"], text
        assert ends_with_speech(text) == case["ends"], text
        assert last_speech_start(text) == case["last_speech_start"], text


def test_units_become_the_strings_of_the_reference(cases: dict[str, Any]) -> None:
    assert len(cases["units_to_string"]) == 12
    for case in cases["units_to_string"]:
        units = {name: to_integers(codes) for name, codes in case["units"].items()}
        assert units_to_string({"hubert": units["hubert"]}) == case["base"]
        assert units_to_string(units) == case["expressive"]
        assert units_to_string({name: units[name] for name in ("hubert", "pitch")}) == case["pitch_only"]
