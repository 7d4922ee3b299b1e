"""Shows the ``>>>`` examples of docstrings as code; mkdocstrings only knows them under an "Examples:" heading."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\n).+)*", re.MULTILINE)


class FenceDoctests(griffe.Extension):
    """Puts a fence around every doctest that stands in running text."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
