"""Hugging Face models by directory or hub name: weights as data, nothing missing, nothing initialised at random."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, HubertModel, PreTrainedModel, Wav2Vec2Model
from transformers.utils import cached_file

from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.speech_transformer import check_supported
from stlm.learn.weights import read_json

KINDS: dict[str, type[PreTrainedModel]] = {"hubert": HubertModel, "wav2vec2": Wav2Vec2Model}
UNUSED = {"masked_spec_embed"}  # only training masks frames
PREPROCESSOR = "preprocessor_config.json"


def read_pretrained(name: str, *, masks: bool = False) -> PreTrainedModel:
    """The bare model, float32, in evaluation mode.

    Args:
        name: directory or hub name.
        masks: whether its vector for masked frames must be there, too.

    Raises:
        DataError: there is no such model, or it cannot be read. ConfigError: it is of another kind. FormatError: its
            weights are not complete.
    """
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{name}: no configuration of a model found ({_line(error)}): check path or hub name"
        ) from error
    check_supported(config)
    try:
        found: Any = KINDS[config.model_type].from_pretrained(
            name, config=config, dtype="float32", output_loading_info=True
        )
    except Exception as error:
        raise DataError(f"{name}: cannot be read as a {config.model_type} model ({_line(error)})") from error
    model, report = found
    missing = sorted(set(report["missing_keys"]) - (set() if masks else UNUSED))
    if missing:
        raise FormatError(f"{name}: no weight {missing[0]!r} (of {len(missing)} missing), expected a whole model")
    return model.eval().requires_grad_(False)


def normalizes(name: str) -> bool:
    """Whether the model's own preprocessor normalises waves.

    Raises:
        ConfigError: the model does not tell.
    """
    path = cached_file(
        name,
        PREPROCESSOR,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    value = read_json(path).get("do_normalize") if path else None
    if not isinstance(value, bool):
        raise ConfigError(
            f"{name}: no do_normalize in {PREPROCESSOR}, so nothing tells whether the model expects normalised waves: "
            "set normalize to true or false"
        )
    return value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
