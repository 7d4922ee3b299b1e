"""An append-only list of id blocks. Tokens are arrays of ids and ranges, never objects or strings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from stlm.errors import FormatError, did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A contiguous range of ids.

    Args:
        name: "text", "markers", or the name of the stream whose codes it holds.
        size: codes per codebook.
        codebooks: number of codebooks; the block has ``size * codebooks`` ids, codebook by codebook.
        symbol: how a code is shown, with one ``{}`` for the code (and a second, first in order, for the codebook).
        symbols: explicit names, for markers.
    """

    name: str
    size: int
    codebooks: int = 1
    symbol: str | None = None
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size <= 0 or self.codebooks <= 0:
            raise FormatError(f"block {self.name!r} must have at least one id, got size {self.size}")
        if self.symbols and len(self.symbols) != self.size:
            raise FormatError(f"block {self.name!r} has size {self.size} but {len(self.symbols)} symbols")
        if len(set(self.symbols)) != len(self.symbols):
            raise FormatError(f"block {self.name!r} names a symbol twice: {list(self.symbols)}")

    @property
    def num_ids(self) -> int:
        return self.size * self.codebooks

    def show(self, index: int) -> str:
        """The symbol of the block's `index`-th id."""
        if self.symbols:
            return self.symbols[index]
        codebook, code = divmod(index, self.size)
        if self.symbol is None:
            return f"[{self.name}:{index}]"
        return self.symbol.format(codebook, code) if self.codebooks > 1 else self.symbol.format(code)

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "size": self.size,
            "codebooks": self.codebooks,
            "symbol": self.symbol,
            "symbols": list(self.symbols),
        }


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Blocks in order; a block's ids start where the previous block ends."""

    blocks: tuple[Block, ...]
    _offsets: np.ndarray = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise FormatError(f"block names must be unique, got {names}")
        offsets = np.concatenate([[0], np.cumsum([block.num_ids for block in self.blocks])]).astype(np.int64)
        object.__setattr__(self, "_offsets", offsets)
        object.__setattr__(self, "_by_name", {name: index for index, name in enumerate(names)})

    def __len__(self) -> int:
        return int(self._offsets[-1])

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def block(self, name: str) -> Block:
        return self.blocks[self.index(name)]

    def index(self, name: str) -> int:
        """Position of a block, as `block_of` returns it."""
        if name not in self._by_name:
            raise FormatError(
                f"no block {name!r} in the vocabulary, only {list(self._by_name)}{did_you_mean(name, self._by_name)}"
            )
        return self._by_name[name]

    def offset(self, name: str) -> int:
        """First id of a block."""
        return int(self._offsets[self.index(name)])

    def block_of(self, ids: np.ndarray) -> np.ndarray:
        """``int64[...]`` index of the block that each id lies in; raises FormatError for ids outside all blocks."""
        ids = np.asarray(ids)
        if ids.size and (int(ids.min()) < 0 or int(ids.max()) >= len(self)):
            raise FormatError(f"ids must lie in 0..{len(self) - 1}, got {int(ids.min())}..{int(ids.max())}")
        return np.searchsorted(self._offsets, ids, side="right") - 1

    def mask(self, *, allow: Iterable[str]) -> np.ndarray:
        """``bool[V]``, True on the ids of the allowed blocks."""
        allowed = np.zeros(len(self), dtype=bool)
        for name in allow:
            start = self.offset(name)
            allowed[start : start + self.block(name).num_ids] = True
        return allowed

    def id_of(self, symbol: str) -> int:
        """Id of an explicitly named symbol, such as a marker."""
        for block, offset in zip(self.blocks, self._offsets, strict=False):
            if symbol in block.symbols:
                return int(offset) + block.symbols.index(symbol)
        known = [name for block in self.blocks for name in block.symbols]
        raise FormatError(f"no marker {symbol!r} in the vocabulary, only {known}{did_you_mean(symbol, known)}")

    def show(self, id: int) -> str:
        index = int(self.block_of(np.asarray([id]))[0])
        return self.blocks[index].show(id - int(self._offsets[index]))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps([block.as_dict() for block in self.blocks]).encode()).hexdigest()

    def extends(self, older: Vocabulary) -> bool:
        """True if `older` is a prefix of this vocabulary, so that a checkpoint only needs new rows."""
        return self.blocks[: len(older.blocks)] == older.blocks

    def first_difference(self, other: Vocabulary) -> str:
        """Name the first block in which two vocabularies differ, for error messages."""
        for position, (mine, theirs) in enumerate(zip(self.blocks, other.blocks, strict=False)):
            if mine != theirs:
                return f"block {position}: {mine.as_dict()} against {theirs.as_dict()}"
        longer = self.blocks if len(self.blocks) > len(other.blocks) else other.blocks
        return f"block {min(len(self.blocks), len(other.blocks))}: {longer[min(len(self.blocks), len(other.blocks)) :]}"
