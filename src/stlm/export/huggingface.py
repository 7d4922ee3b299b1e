"""A standard Hugging Face directory of a system: transformers loads it alone, with equal logits and equal ids.

```
config.json, model.safetensors         the backbone's own
tokenizer.json, tokenizer_config.json, special_tokens_map.json
generation_config.json                 what `stlm generate --to any` may write; _text and _speech likewise
format.yaml                            the token format
README.md                              how strings look, how to load and to serve
```

Cost: the weights are read once and written once.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError
from stlm.export.card import card
from stlm.export.tokenizer import tokenizer_json
from stlm.generate import GenerationOptions
from stlm.parts import Parts
from stlm.system import TARGETS, SpeechTextLM

MARKS = ("format.yaml", "generation_config_speech.json")
"""What shows that a directory is an earlier export."""


def export_huggingface(parts: Parts, directory: str | Path, *, overwrite: bool = False) -> None:
    """Write a system as a Hugging Face directory; it appears whole or not at all.

    Args:
        parts: the system; encoders are opened for their fingerprints, a vocoder is not needed.
        directory: new, empty, or an earlier export.
        overwrite: replace an earlier export.

    Raises:
        ConfigError: a part is missing, or transformers has no model or tokenizer of its kind.
        DataError: the directory holds something else, or an earlier export without `overwrite`.
        FormatError: the format's literals are not distinct.
    """
    target = Path(directory).absolute()
    _check_target(target, overwrite)
    codec, encoders = parts.build_codec()
    tokenizer = tokenizer_json(codec)
    system = SpeechTextLM(codec, encoders, parts.build("backbone"))
    with _new_directory(target) as partial:
        system.backbone.save(partial)
        num_rows = _finish_config(partial, codec, parts)
        write_tokenizer(partial, codec, tokenizer)
        for to in TARGETS:
            _write_generation(partial, system, to, num_rows)
        (partial / "format.yaml").write_text(yaml.safe_dump(codec.format.as_dict(), sort_keys=False))
        (partial / "README.md").write_text(card(codec, target.name))


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not all((target / name).is_file() for name in MARKS):
        raise DataError(f"{target}: holds something else than an export of stlm: choose a new or empty directory")
    if not overwrite:
        raise DataError(f"{target}: holds an export already: replace it by --overwrite, or choose another directory")


@contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """A directory to write to, beside the target; it takes the target's place when the block ends without error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    old = partial.with_suffix(".old")
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _finish_config(directory: Path, codec: Codec, parts: Parts) -> int:
    """Put the format's special ids into the model's configuration; returns its number of rows.

    Raises:
        ConfigError: transformers knows no such model.
    """
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
        MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except (OSError, ValueError, KeyError) as error:
        name = parts.components["backbone"]
        raise ConfigError(
            f"{parts.where}: backbone {name} is no model of transformers, expected one such as stlm-llama/llama or "
            "stlm-llama/causal_lm: only these load without stlm"
        ) from error
    path, format = directory / "config.json", codec.format
    specials = {"bos_token_id": format.bos, "eos_token_id": format.eos, "pad_token_id": format.pad}
    _write_json(path, {**json.loads(path.read_text()), **specials})
    return config.get_text_config().vocab_size


def write_tokenizer(directory: Path, codec: Codec, tokenizer: dict[str, Any]) -> None:
    """Write ``tokenizer.json``, as `tokenizer_json` gives it, and the files beside it.

    Raises:
        ConfigError: transformers would put a tokenizer of its own in its place.
    """
    format = codec.format
    contents = {entry["id"]: entry["content"] for entry in tokenizer["added_tokens"]}
    roles = {"bos_token": format.bos, "eos_token": format.eos, "pad_token": format.pad}
    specials = {role: contents[id] for role, id in roles.items() if id is not None}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left",
        **specials,
    }
    _write_json(directory / "tokenizer.json", tokenizer)
    _write_json(directory / "special_tokens_map.json", specials)
    # for some kinds of models (Qwen2) transformers 5 takes its own class, with its own splitting of text, whatever
    # tokenizer_class says, unless the file also speaks of a class that comes with the model
    for more in ({}, {"auto_map": {"AutoTokenizer": [None, "PreTrainedTokenizerFast"]}}):
        _write_json(directory / "tokenizer_config.json", {**config, **more})
        loaded = AutoTokenizer.from_pretrained(directory)
        if type(loaded) is PreTrainedTokenizerFast:
            return
    raise ConfigError(
        f"AutoTokenizer loads {type(loaded).__name__} for models of this kind, expected PreTrainedTokenizerFast as the "
        "file says: export with another version of transformers"
    )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _write_generation(directory: Path, system: SpeechTextLM, to: str, num_rows: int) -> None:
    """What `stlm generate` does by default; rows behind the format's ids pad the model's tables and are never right."""
    format, sampling = system.codec.format, GenerationOptions()
    allowed = system.allowed(to)
    banned = [id for id in range(num_rows) if id >= len(allowed) or not allowed[id]]
    config = GenerationConfig(
        bos_token_id=format.bos,
        eos_token_id=format.eos,
        pad_token_id=format.eos if format.pad is None else format.pad,
        do_sample=True,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        suppress_tokens=banned or None,
    )
    config.save_pretrained(directory, "generation_config.json" if to == "any" else f"generation_config_{to}.json")
