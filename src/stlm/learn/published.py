"""Models and processors in the layout of the Hugging Face hub: a name there, or a directory."""

from __future__ import annotations

from typing import Any

from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from stlm.errors import ConfigError

ENGLISH_MODEL = "facebook/wav2vec2-large-960h-lv60-self"
MANY_LANGUAGES_MODEL = "facebook/mms-1b-all"


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


def load_ctc(kind: Any, name: str, language: str, **options: Any) -> tuple[Any, Any, Any]:
    """Tokenizer, feature extractor and model, in evaluation mode, of a recogniser trained by CTC.

    Args:
        kind: class of the model.
        name: of it; empty: `ENGLISH_MODEL`, or with a language `MANY_LANGUAGES_MODEL`.
        language: ISO 639-3 code of an adapter and its letters, of an MMS model; empty: the model has one language.
        options: of the model.

    Raises:
        ConfigError: there is nothing to load, or it does not fit.
    """
    name = name or (MANY_LANGUAGES_MODEL if language else ENGLISH_MODEL)
    chosen: dict[str, Any] = {"target_lang": language} if language else {}
    tokenizer = load_published(Wav2Vec2CTCTokenizer, name, **chosen)
    extractor = load_published(Wav2Vec2FeatureExtractor, name)
    if language:
        options |= {**chosen, "ignore_mismatched_sizes": True}
    return tokenizer, extractor, load_published(kind, name, **options).eval()
