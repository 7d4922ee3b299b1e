"""Broken text unit encoders, each caught by the law that it breaks."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from stlm.interfaces import ExportableTextEncoder
from stlm.testing import fakes
from stlm.types import TextUnits

TICKS = itertools.count()


class Text(fakes.ByteText):
    """Honest, with one place to break it."""

    def change(self, units: TextUnits, text: str) -> TextUnits:
        return units

    def encode(self, text):
        return self.change(super().encode(text), text)


class StripsSpaces(Text):
    def encode(self, text):
        return super().encode(text.strip())


class OffsetsInBytes(Text):
    def change(self, units, text):
        places = np.arange(len(units), dtype=np.int32)
        return replace(units, char_offsets=np.stack([places, places + 1], axis=1))


class NoOffsets(Text):
    def change(self, units, text):
        return replace(units, char_offsets=np.zeros_like(units.char_offsets))


class LargeIds(Text):
    vocab_size = 100


class OtherIdsOnTheHotPath(Text):
    def encode_ids(self, text):
        return [*super().encode_ids(text), 32]


class NamesAnother(Text):
    def change(self, units, text):
        return replace(units, fingerprint="another")


class DropsTheSpaceWhenDecoding(Text):
    def decode(self, ids):
        return super().decode(ids).strip()


class ShowsWhatItTakesBack(Text):
    def decode(self, ids):
        return super().decode(ids) if len(ids) != 3 else "wait"


class CountsItsCalls(Text):
    def change(self, units, text):
        return replace(units, ids=(units.ids + next(TICKS)) % 256)


class WritesAnotherTokenizer(Text, ExportableTextEncoder):
    def tokenizer_json(self):
        from tokenizers import Tokenizer, models

        return Tokenizer(models.BPE(vocab={"a": 0}, merges=[])).to_str()


class LongInts(Text):
    def change(self, units, text):
        return replace(units, ids=units.ids.astype(np.int64))


TEXT = [
    (
        "TextUnitEncoderContract",
        StripsSpaces,
        ("decoding_gives_the_text_back", "pieces_of_text_join_with_their_spaces"),
    ),
    ("TextUnitEncoderContract", OffsetsInBytes, ("offsets_are_ordered_and_lie_within_the_text",)),
    ("TextUnitEncoderContract", NoOffsets, ("offsets_cover_every_character",)),
    ("TextUnitEncoderContract", LargeIds, ("ids_lie_within_the_vocabulary",)),
    ("TextUnitEncoderContract", LongInts, ("ids_lie_within_the_vocabulary",)),
    ("TextUnitEncoderContract", OtherIdsOnTheHotPath, ("the_ids_alone_are_the_ids_with_offsets",)),
    ("TextUnitEncoderContract", NamesAnother, ("units_name_their_tokenizer",)),
    ("TextUnitEncoderContract", DropsTheSpaceWhenDecoding, ("decoding_gives_the_text_back",)),
    ("TextUnitEncoderContract", ShowsWhatItTakesBack, ("text_grows_as_ids_come",)),
    ("TextUnitEncoderContract", WritesAnotherTokenizer, ("its_file_gives_equal_ids_and_text",)),
    ("TextUnitEncoderContract", CountsItsCalls, ("it_is_deterministic", "it_pickles")),
    (
        "TextUnitEncoderContract",
        Text,
        ("a_saved_encoder_loads_with_equal_ids",),
        lambda directory: LargeIds(),
    ),
]


@pytest.mark.parametrize("case", TEXT, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(TEXT) == []
