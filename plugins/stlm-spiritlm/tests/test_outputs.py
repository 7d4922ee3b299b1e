"""The official habits with outputs and unit dictionaries, on a vocoder of one sample per unit."""

from __future__ import annotations

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.testing.fakes import EnergyEncoder, ToneVocoder
from stlm_spiritlm.legacy import LegacyTokenizer
from stlm_spiritlm.outputs import legacy_outputs
from stlm_spiritlm.strings import count_hubert, string_to_units, units_to_string


def spoken(units: str) -> np.ndarray:
    return np.arange(count_hubert(units), dtype=np.float32)


def run_of(count: int) -> str:
    return "".join(f"[Hu{index}]" for index in range(count))


def test_text_is_stripped_and_may_hold_brackets() -> None:
    assert legacy_outputs("[Text]a", "  b [Hu3] ", "text", spoken) == ["b [Hu3]"]


def test_speech_that_goes_on_is_cut_behind_what_the_prompt_said() -> None:
    (output,) = legacy_outputs("[Speech]" + run_of(10), run_of(40), "any", spoken)
    assert len(output) == 50 - int(np.ceil(50 * 10 / 51))


def test_short_speech_is_dropped_unless_it_comes_first() -> None:
    assert len(legacy_outputs("[Text]a", run_of(3), "any", spoken)) == 1
    assert legacy_outputs("[Text]a", f"b[Speech]{run_of(23)}[Text]c", "any", spoken) == ["b", "c"]
    assert len(legacy_outputs("[Text]a", f"b[Speech]{run_of(24)}[Text]c", "any", spoken)) == 3


def test_strings_and_units_are_inverse_up_to_repetition() -> None:
    units = {"hubert": [1, 1, 2, 3, 3], "pitch": [4, 4, 5], "style": [9]}
    text = units_to_string(units)
    assert text == "[St9][Pi4][Hu1][Hu2][Hu3][Pi5]"
    assert string_to_units(text) == {"hubert": "1 2 3", "pitch": "4 4 4", "style": "9 9 9"}


def tokenizer() -> LegacyTokenizer:
    return LegacyTokenizer({"energy": EnergyEncoder()}, ToneVocoder())


def test_stereo_is_mixed_or_one_channel_is_taken() -> None:
    rng = np.random.default_rng(0)
    stereo = np.stack([rng.normal(0, 0.5, 8000), np.zeros(8000)]).astype(np.float32)
    mixed, left = tokenizer().encode_units(stereo), tokenizer().encode_units(stereo, channel_id=0)
    assert mixed == tokenizer().encode_units(stereo.mean(0)) and left == tokenizer().encode_units(stereo[0])
    with pytest.raises(DataError, match=r"shape \[3, 8000\]"):
        tokenizer().encode_units(np.zeros((3, 8000), np.float32))


def test_streams_of_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="14 units of pitch do not fit 20"):
        tokenizer().decode({"hubert": "1 " * 20, "pitch": "1 " * 14})
    with pytest.raises(DataError, match="unit '12]' is no number"):
        tokenizer().decode({"hubert": "12]"})
