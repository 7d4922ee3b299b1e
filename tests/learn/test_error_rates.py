"""Error rates over normalised texts."""

import pytest

from stlm.errors import DataError
from stlm.learn.error_rates import error_rates, normalize


def test_equal_texts_have_no_errors_whatever_their_case() -> None:
    found = error_rates(["it's  Twenty - one"], ["It's, twenty one!"])
    assert found == {"wer": 0.0, "cer": 0.0, "n": 1}


def test_rates_are_of_the_whole_corpus() -> None:
    """One substitution and one deletion in six words; a mean over the texts would give 50."""
    found = error_rates(["a b c x", ""], ["a b c d e", "f"])
    assert found["wer"] == pytest.approx(3 / 6 * 100)
    assert found["n"] == 2


def test_insertions_can_exceed_a_hundred() -> None:
    assert error_rates(["a b c d"], ["a"])["wer"] == pytest.approx(300.0)


def test_characters_are_counted_too() -> None:
    assert error_rates(["abcx"], ["abcd"])["cer"] == pytest.approx(25.0)


def test_empty_references_are_left_out() -> None:
    assert error_rates(["noise", "a"], ["...", "a"]) == {"wer": 0.0, "cer": 0.0, "n": 1}
    with pytest.raises(DataError, match="every reference is empty"):
        error_rates(["a"], ["..."])


def test_numbers_of_texts_must_agree() -> None:
    with pytest.raises(DataError, match="1 hypotheses for 2 references"):
        error_rates(["a"], ["a", "b"])


def test_the_normal_form_is_idempotent() -> None:
    for text in ("It's - TWENTY  one", "Ünïcode, 42!", "", "don't", "İstanbul", "नमस्ते!"):
        assert normalize(normalize(text)) == normalize(text)
    assert normalize("It's - TWENTY  one") == "it's twenty one"


def test_letters_of_all_languages_survive_with_their_marks() -> None:
    assert normalize("Don’t! Größe, नमस्ते") == "don't größe नमस्ते"
    assert normalize("cafe\u0301") == "café"
