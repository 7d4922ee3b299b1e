"""Models and processors in the layout of the Hugging Face hub: a name there, or a directory."""

from __future__ import annotations

from typing import Any

from stlm.errors import ConfigError


def load_published(kind: Any, name: str, **options: Any) -> Any:
    """``kind.from_pretrained(name)``, from safetensors, with every fault as one line.

    Raises:
        ConfigError: there is nothing to load, or it does not fit.
    """
    if not name:
        raise ConfigError(f"{kind.__name__} needs model: a name on the Hugging Face hub, or a directory")
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{name}: {kind.__name__} cannot be loaded ({reason}), expected a name on the Hugging Face hub or a "
            "directory with its files: check the name, and the network if it has to be downloaded"
        ) from error
