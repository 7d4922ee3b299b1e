"""What a parity kit calls: ``load(checkpoint)`` gives the Base and the Expressive tokenizer of the official layout."""

from __future__ import annotations

from pathlib import Path

from stlm.parts import open_parts
from stlm_spiritlm.legacy import LegacyTokenizer


def load(checkpoint: str | Path) -> tuple[LegacyTokenizer, LegacyTokenizer]:
    """The tokenizers of both models, from one directory; the language models are not needed."""
    return _tokenizer("spiritlm-base", checkpoint), _tokenizer("spiritlm-expressive", checkpoint)


def _tokenizer(preset: str, checkpoint: str | Path) -> LegacyTokenizer:
    parts = open_parts(preset, checkpoint)
    streams = [role.removeprefix("encoders/") for role in parts.parts if role.startswith("encoders/")]
    encoders = {name: parts.build(f"encoders/{name}") for name in streams}
    return LegacyTokenizer(encoders, parts.build("vocoder"))
