"""What a plugin declares: names and import paths, no objects, so that declaring costs nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One choice that a plugin offers.

    Args:
        name: the bare name users write ("logmel"); ``dist/name`` always works too.
        factory: ``"module:attribute"`` of a callable that takes an instance of `config` and returns the object.
        config: ``"module:attribute"`` of a dataclass with a default for every optional field.
        summary: one line for `stlm plugins`.
    """

    name: str
    factory: str
    config: str
    summary: str = ""
