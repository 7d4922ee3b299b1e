"""Parameters by regular expressions of their names.

In: a backbone and patterns, searched anywhere in a name (`re.search`). Out: the parameters that they mean, or one clear
line where they mean none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NoReturn

from stlm.errors import ConfigError, did_you_mean
from stlm.interfaces.backbone import BackboneLM

SHOWN = 12
"""So many names an error lists at most."""


def check_pattern(pattern: str, where: str) -> None:
    """Raise ConfigError unless `pattern` is a regular expression that says something."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{where}: {pattern!r} is not a regular expression: {error}") from error
    if not pattern:
        raise ConfigError(f"{where}: '' matches every parameter: leave the list empty to mean all")


def trainable(backbone: BackboneLM) -> dict[str, str]:
    """Names of the parameters that require gradients, each to the first name of its parameter: a tied table has two."""
    first: dict[int, str] = {}
    named = backbone.named_parameters(remove_duplicate=False)
    return {name: first.setdefault(id(parameter), name) for name, parameter in named if parameter.requires_grad}


def matching(pattern: str, names: Mapping[str, str], where: str) -> frozenset[str]:
    """First names of the parameters that have a name which `pattern` is found in.

    Args:
        pattern: a regular expression.
        names: what `trainable` gives.
        where: the option that the pattern stands in.

    Raises:
        ConfigError: there is none.
    """
    found = frozenset(first for name, first in names.items() if re.search(pattern, name))
    return found or _refuse(pattern, names, where)


def _refuse(pattern: str, names: Iterable[str], where: str) -> NoReturn:
    parts = dict.fromkeys(part for name in names for part in name.split(".") if not part.isdigit())
    listed = ", ".join([*parts][:SHOWN]) + (", …" if len(parts) > SHOWN else "")
    raise ConfigError(
        f"{where}: {pattern!r} matches no parameter that can be trained{did_you_mean(pattern, parts)}; expected a "
        f"regular expression of names made of {listed}"
    )
