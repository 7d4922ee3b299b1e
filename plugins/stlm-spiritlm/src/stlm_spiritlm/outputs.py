"""The official splitting of arbitrary output into texts and sounds: what it strips, drops and cuts off, exactly.

stlm's own `generate` returns every span that the model wrote. This is for those who compare with the official tool.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stlm_spiritlm.strings import (
    count_hubert,
    ends_with_speech,
    last_speech_start,
    split_modalities,
    starts_with_speech,
)

SHORTEST = 25
"""A later stretch of fewer HuBERT units, counted one too many as the official tool does, is dropped: about a second."""

Output = str | np.ndarray


def legacy_outputs(prompt: str, new: str, to: str, decode: Callable[[str], np.ndarray]) -> list[Output]:
    """Texts and sounds (``float32[N]``) of newly written text.

    Args:
        prompt: the prompt string.
        new: what the model wrote after it, as a string.
        to: "text", "speech" or "any".
        decode: speaks a string of units.
    """
    new = new.strip()
    if to == "text":
        return [new]
    if to == "speech":
        return [decode(new)]
    heard = ""
    if ends_with_speech(prompt) and starts_with_speech(new):
        heard = prompt[last_speech_start(prompt) :]
    outputs = []
    for index, (chunk, kind) in enumerate(split_modalities(heard + new)):
        output = chunk if kind == "t" else _spoken(chunk, decode, heard if index == 0 else "", is_first=index == 0)
        if output is not None:
            outputs.append(output)
    return outputs


def _spoken(chunk: str, decode: Callable[[str], np.ndarray], heard: str, *, is_first: bool) -> np.ndarray | None:
    """A stretch of speech without what the prompt had said; None where the official tool drops it."""
    samples = decode(chunk)
    total = count_hubert(chunk) + 1
    if not heard:
        return samples if is_first or total >= SHORTEST else None
    known = count_hubert(heard)
    return samples[math.ceil(len(samples) * known / total) :] if total - known >= SHORTEST else None
