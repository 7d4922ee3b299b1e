"""The error tree. Every error a user can cause is a StlmError with one clear line: what, got, expected, how to mend."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class StlmError(Exception):
    """Base of all errors that stlm raises for bad input; the command line prints it as one line and exits with 2."""


class PluginError(StlmError):
    """A plugin is missing, broken, ambiguous or breaks its contract."""


class FormatError(StlmError):
    """Ids, shards or checkpoints do not match the vocabulary, layout or stream that they are read with."""


class ConfigError(StlmError):
    """A configuration names an unknown field or choice, or has a value of the wrong type."""


class DataError(StlmError):
    """An input file or utterance cannot be used: unreadable, empty, inconsistent."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` or an empty string; meant to be appended to a message."""
    close = get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
