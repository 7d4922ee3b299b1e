"""Who speaks a text in which style: drawn from the configured voices, with the style fixed, random or the mood's."""

from __future__ import annotations

import numpy as np

from stlm_windtunnel.voices import STYLES, cast, one_of
from stlm_windtunnel.world import pick


class Performer:
    """Draws (voice, style).

    Args:
        voices: speakers to draw from, or names of casts; empty for the world's.
        style: "mood", "random", or the name of one style.

    Raises:
        ConfigError: unknown voice or style.
    """

    def __init__(self, *, voices: tuple[str, ...] = (), style: str = "mood") -> None:
        self.voices = cast(tuple(voices))
        self.style = one_of("style", style, ("mood", "random", *STYLES))

    def draw(self, rng: np.random.Generator, mood: str) -> tuple[str, str]:
        """A voice and the style for a text of that mood; takes two draws whatever the settings."""
        voice, style = pick(rng, self.voices), pick(rng, tuple(STYLES))
        return voice, {"mood": mood, "random": style}.get(self.style, self.style)
