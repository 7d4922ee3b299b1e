"""``"[(512, 10, 5)] + [(512, 3, 2)] * 4"``: the list of convolutions as checkpoints write it, parsed, never evaluated.

::

    list  = term { "+" term }
    term  = "[" [ tuple { "," tuple } [ "," ] ] "]" [ "*" int ]
    tuple = "(" int "," int "," int [ "," ] ")"
"""

from __future__ import annotations

import re

from stlm.errors import FormatError

Layer = tuple[int, int, int]

MAX_LAYERS = 64
TOKEN = re.compile(r"\s*(?:(\d{1,9})|([\[\](),+*]))")
EXPECTED = 'expected lists of (channels, kernel, stride) such as "[(512, 10, 5)] + [(512, 3, 2)] * 4"'


def parse_layers(text: str, where: str) -> list[Layer]:
    """Channels, kernel and stride of each convolution.

    Args:
        text: the expression.
        where: file and key, for messages.

    Raises:
        FormatError: it is anything else than lists of triples of positive numbers, added and multiplied.
    """
    try:
        layers = _Parser(text).layers()
    except ValueError as error:
        raise FormatError(f"{where}: {error} in {text[:200]!r}, {EXPECTED}") from None
    if not layers or any(number < 1 for layer in layers for number in layer):
        raise FormatError(f"{where}: {text[:200]!r} has no layers or a zero in one, {EXPECTED}")
    return layers


class _Parser:
    """Recursive descent; every fault is a ValueError that names the place."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def layers(self) -> list[Layer]:
        found = self._term()
        while self._take("+"):
            found += self._term()
            self._check(len(found))
        if self._text[self._place :].strip():
            raise ValueError(f"unexpected {self._text[self._place :].strip()[:20]!r} at character {self._place}")
        return found

    def _term(self) -> list[Layer]:
        self._demand("[")
        found: list[Layer] = []
        while not self._take("]"):
            if found:
                self._demand(",")
                if self._take("]"):
                    break
            found.append(self._triple())
            self._check(len(found))
        if not self._take("*"):
            return found
        times = self._number()
        self._check(len(found) * times)
        return found * times

    def _triple(self) -> Layer:
        self._demand("(")
        channels = self._number()
        self._demand(",")
        kernel = self._number()
        self._demand(",")
        stride = self._number()
        self._take(",")
        self._demand(")")
        return channels, kernel, stride

    def _number(self) -> int:
        match = TOKEN.match(self._text, self._place)
        if not match or match[1] is None:
            raise ValueError(f"no number at character {self._place}")
        self._place = match.end()
        return int(match[1])

    def _demand(self, symbol: str) -> None:
        if not self._take(symbol):
            raise ValueError(f"no {symbol!r} at character {self._place}")

    def _take(self, symbol: str) -> bool:
        match = TOKEN.match(self._text, self._place)
        if not match or match[2] != symbol:
            return False
        self._place = match.end()
        return True

    def _check(self, count: int) -> None:
        if count > MAX_LAYERS:
            raise ValueError(f"more than {MAX_LAYERS} layers")
