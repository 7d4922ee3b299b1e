"""Laws of `TextUnitEncoder`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from stlm.interfaces import ExportableTextEncoder, TextUnitEncoder
from stlm.testing.contracts.component import ComponentContract

UNFINISHED = "\ufffd"


class TextUnitEncoderContract(ComponentContract):
    """Subclass with a fixture ``encoder``.

    Optional: ``reload(directory)``; a fixture ``texts`` where the default ones (English with punctuation, digits,
    accents, an emoji, brackets) are outside what the tokenizer can write.
    """

    kind: ClassVar[str] = "unit_encoder"

    @pytest.fixture
    def texts(self) -> list[str]:
        return [
            "The quick brown fox, who was 27, jumps over Anna's lazy dog.",
            " a leading space survives",
            "[Hu3] [Text] <s> </s> are only words here",
            "café naïve 你好 🙂 done",
            "x",
            " ",
            "",
        ]

    def reload(self, directory: Path) -> TextUnitEncoder:
        pytest.skip("give reload(directory) to check that a saved encoder loads")

    def test_decoding_gives_the_text_back(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        for text in texts:
            assert encoder.decode(encoder.encode(text).ids.tolist()) == text

    def test_ids_lie_within_the_vocabulary(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        assert encoder.vocab_size > 0
        for text in texts:
            ids = encoder.encode(text).ids
            assert ids.dtype == np.int32 and ids.ndim == 1
            assert not len(ids) or (ids.min() >= 0 and ids.max() < encoder.vocab_size)

    def test_offsets_are_ordered_and_lie_within_the_text(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        for text in texts:
            offsets = encoder.encode(text).char_offsets
            assert offsets.dtype == np.int32
            starts, ends = offsets[:, 0], offsets[:, 1]
            assert (starts <= ends).all() and (np.diff(starts) >= 0).all() and (np.diff(ends) >= 0).all()
            assert not len(offsets) or (starts[0] >= 0 and ends[-1] <= len(text))

    def test_offsets_cover_every_character(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        for text in texts:
            covered = np.zeros(len(text), bool)
            for start, end in encoder.encode(text).char_offsets:
                covered[start:end] = True
            assert all(covered[index] or text[index].isspace() for index in range(len(text))), text

    def test_the_ids_alone_are_the_ids_with_offsets(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        for text in texts:
            assert list(encoder.encode_ids(text)) == encoder.encode(text).ids.tolist()

    def test_units_name_their_tokenizer(self, encoder: TextUnitEncoder) -> None:
        assert encoder.fingerprint
        assert encoder.encode("some text").fingerprint == encoder.fingerprint

    def test_it_is_deterministic(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        for text in texts:
            np.testing.assert_array_equal(encoder.encode(text).ids, encoder.encode(text).ids)

    def test_pieces_of_text_join_with_their_spaces(self, encoder: TextUnitEncoder) -> None:
        """What interleaving does: words are encoded in stretches, each with its leading space."""
        pieces = ["one", " two three", " four."]
        ids = [id for piece in pieces for id in encoder.encode_ids(piece)]
        assert encoder.decode(ids) == "one two three four."

    def test_text_grows_as_ids_come(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        """Streaming shows the text of the first ids; what was shown stays as it was."""
        for text in texts:
            ids = list(encoder.encode_ids(text))
            for count in range(len(ids)):
                shown = encoder.decode(ids[:count]).rstrip(UNFINISHED)
                assert text.startswith(shown), f"{shown!r} was shown on the way to {text!r}"

    def test_its_file_gives_equal_ids_and_text(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        """What `stlm export` writes; pieces in the middle of a text, which begin with no space, included."""
        if not isinstance(encoder, ExportableTextEncoder):
            pytest.skip("only an ExportableTextEncoder writes a file for other tools")
        from tokenizers import Tokenizer

        written = Tokenizer.from_str(encoder.tokenizer_json())
        ends = [whole[index:] for whole in texts for index in range(0, len(whole), 5)]
        for text in [*texts, *ends]:
            ids = list(encoder.encode_ids(text))
            assert written.encode(text, add_special_tokens=False).ids == ids, text
            assert written.decode(ids, skip_special_tokens=False) == encoder.decode(ids), text

    def test_it_pickles(self, encoder: TextUnitEncoder, texts: list[str]) -> None:
        again = pickle.loads(pickle.dumps(encoder))
        assert again.fingerprint == encoder.fingerprint
        for text in texts:
            np.testing.assert_array_equal(again.encode(text).ids, encoder.encode(text).ids)

    def test_a_saved_encoder_loads_with_equal_ids(
        self, encoder: TextUnitEncoder, texts: list[str], tmp_path: Path
    ) -> None:
        encoder.save(tmp_path)
        again = self.reload(tmp_path)
        assert again.fingerprint == encoder.fingerprint and again.vocab_size == encoder.vocab_size
        for text in texts:
            np.testing.assert_array_equal(again.encode(text).ids, encoder.encode(text).ids)
