"""stlm: speech-text language modelling. Names load on first use; importing stlm loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stlm.system import SpeechFile as Speech
    from stlm.system import SpeechTextLM, Text, load

__all__ = ["Speech", "SpeechTextLM", "Text", "load"]

_HOMES = {"Speech": "SpeechFile", "SpeechTextLM": "SpeechTextLM", "Text": "Text", "load": "load"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stlm' has no attribute {name!r}")
    from stlm import system

    return getattr(system, _HOMES[name])
