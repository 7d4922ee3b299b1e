"""Id blocks: ranges, masks, symbols, and what it means to extend a vocabulary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlm.errors import FormatError
from stlm.types import Block, Vocabulary

BLOCKS = (
    Block(name="text", size=5),
    Block(name="markers", size=2, symbols=("[Text]", "[Speech]")),
    Block(name="hubert", size=3, symbol="[Hu{}]"),
    Block(name="mimi", size=2, codebooks=3, symbol="[M{}:{}]"),
)
VOCABULARY = Vocabulary(BLOCKS)


def test_blocks_follow_each_other() -> None:
    assert [VOCABULARY.offset(block.name) for block in BLOCKS] == [0, 5, 7, 10]
    assert len(VOCABULARY) == 16
    assert "hubert" in VOCABULARY and "pitch" not in VOCABULARY


def test_every_id_knows_its_block() -> None:
    assert VOCABULARY.block_of(np.arange(16)).tolist() == [0] * 5 + [1] * 2 + [2] * 3 + [3] * 6
    assert VOCABULARY.block_of(np.array([[0, 9], [10, 15]])).tolist() == [[0, 2], [3, 3]]
    assert len(VOCABULARY.block_of(np.array([], np.int64))) == 0


@pytest.mark.parametrize("ids", [[-1], [16], [3, 99]])
def test_ids_outside_all_blocks_are_an_error(ids: list[int]) -> None:
    with pytest.raises(FormatError, match=r"0..15"):
        VOCABULARY.block_of(np.array(ids))


@given(allow=st.sets(st.sampled_from([block.name for block in BLOCKS])))
def test_a_mask_allows_exactly_its_blocks(allow: set[str]) -> None:
    names = [BLOCKS[index].name for index in VOCABULARY.block_of(np.arange(16))]
    assert VOCABULARY.mask(allow=allow).tolist() == [name in allow for name in names]


def test_ids_are_shown_by_their_symbols() -> None:
    shown = [VOCABULARY.show(id) for id in range(16)]
    assert shown[:8] == ["[text:0]", "[text:1]", "[text:2]", "[text:3]", "[text:4]", "[Text]", "[Speech]", "[Hu0]"]
    assert shown[10:] == ["[M0:0]", "[M0:1]", "[M1:0]", "[M1:1]", "[M2:0]", "[M2:1]"]


def test_symbols_are_found_and_mistyped_ones_suggested() -> None:
    assert VOCABULARY.id_of("[Speech]") == 6
    with pytest.raises(FormatError, match=r"'\[Speach\]'.*did you mean '\[Speech\]'"):
        VOCABULARY.id_of("[Speach]")
    with pytest.raises(FormatError, match=r"no block 'huberd'.*did you mean 'hubert'"):
        VOCABULARY.offset("huberd")


def test_blocks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(FormatError, match="at least one id"):
        Block(name="x", size=0)
    with pytest.raises(FormatError, match="size 3 but 2 symbols"):
        Block(name="x", size=3, symbols=("a", "b"))
    with pytest.raises(FormatError, match="twice"):
        Block(name="x", size=2, symbols=("a", "a"))
    with pytest.raises(FormatError, match="unique"):
        Vocabulary((BLOCKS[0], BLOCKS[0]))


def test_a_longer_vocabulary_extends_its_beginning_only() -> None:
    longer = Vocabulary((*BLOCKS, Block(name="pitch", size=4)))
    assert longer.extends(VOCABULARY) and VOCABULARY.extends(VOCABULARY)
    assert not VOCABULARY.extends(longer)
    swapped = Vocabulary((BLOCKS[0], BLOCKS[2], BLOCKS[1], BLOCKS[3]))
    larger = Vocabulary((Block(name="text", size=6), *BLOCKS[1:]))
    assert not swapped.extends(VOCABULARY) and not larger.extends(VOCABULARY)


def test_the_first_difference_is_named() -> None:
    swapped = Vocabulary((BLOCKS[0], BLOCKS[2], BLOCKS[1], BLOCKS[3]))
    message = swapped.first_difference(VOCABULARY)
    assert message.startswith("block 1:") and "'hubert'" in message and "'markers'" in message
    longer = Vocabulary((*BLOCKS, Block(name="pitch", size=4)))
    for message in (longer.first_difference(VOCABULARY), VOCABULARY.first_difference(longer)):
        assert message.startswith("block 4:") and "'pitch'" in message


def test_the_hash_follows_order_and_content() -> None:
    hashes = {
        VOCABULARY.sha256,
        Vocabulary((BLOCKS[1], BLOCKS[0], *BLOCKS[2:])).sha256,
        Vocabulary((Block(name="text", size=6), *BLOCKS[1:])).sha256,
        Vocabulary(BLOCKS[:3]).sha256,
    }
    assert len(hashes) == 4
    assert Vocabulary(BLOCKS).sha256 == VOCABULARY.sha256
