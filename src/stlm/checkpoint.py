"""A run directory: everything a trained system needs, as safetensors, YAML and JSON; nothing in it is ever executed.

```
run.json       versions, format hash, component names, the resolved config
format.yaml    the token format
text/          the text tokenizer's own files
encoders/X/    the speech encoder of stream X
backbone/      config.json and model.safetensors
adapter/       the LoRA adapter alone, if there was one; the backbone holds it already
vocoder/       if there is one
checkpoints/   what training resumes from
```
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from stlm.codec import Codec
from stlm.errors import DataError, FormatError, StlmError
from stlm.interfaces.backbone import AdaptableBackbone, BackboneLM
from stlm.parts import Parts
from stlm.plugin import Choice, default_registry
from stlm.system import SpeechTextLM
from stlm.types import Format

RUN_FILE = "run.json"
RUN_VERSION = 1
RUN_KEYS = {
    "codec_fingerprint": str,
    "text_fingerprint": str,
    "format_sha256": str,
    "streams": dict,
    "components": dict,
    "libraries": dict,
}
PARTS = ("format.yaml", "text", "encoders", "backbone", "adapter", "vocoder")
LIBRARIES = ("stlm", "torch", "torchaudio", "transformers", "pytorch-lightning", "peft", "numpy")


def save_system(system: SpeechTextLM, directory: str | Path, config: Mapping[str, Any] | None = None) -> None:
    """Write a system; parts of an earlier run are replaced, training checkpoints stay.

    Raises:
        DataError: the directory holds files of those names that are not ours.
    """
    root = Path(directory)
    _check_ours(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / "format.yaml").write_text(yaml.safe_dump(system.codec.format.as_dict(), sort_keys=False))
    system.codec.text_encoder.save(_fresh(root / "text"))
    for name, encoder in system.encoders.items():
        encoder.save(_fresh(root / "encoders" / name))
    _save_adapter(system.backbone, root / "adapter")
    system.backbone.save(_fresh(root / "backbone"))
    if system.vocoder is not None:
        system.vocoder.save(_fresh(root / "vocoder"))
    _write_record(root, system.codec, system.components, config)


def _save_adapter(backbone: BackboneLM, directory: Path) -> None:
    """Write the backbone's adapter, before saving merges it; that of an earlier run is removed in any case."""
    shutil.rmtree(directory, ignore_errors=True)
    if isinstance(backbone, AdaptableBackbone) and backbone.has_adapter:
        backbone.save_lora(_fresh(directory))


def write_run_file(
    root: Path, codec: Codec, components: Mapping[str, str], config: Mapping[str, Any] | None = None
) -> None:
    """Write ``run.json``, atomically.

    Raises:
        DataError: the directory holds files that the system's parts would replace and that are not ours.
    """
    _check_ours(root)
    _write_record(root, codec, components, config)


def _write_record(root: Path, codec: Codec, components: Mapping[str, str], config: Mapping[str, Any] | None) -> None:
    content = {
        "run_version": RUN_VERSION,
        "libraries": installed_versions(),
        "plugins": {plugin.dist: plugin.version for plugin in default_registry().plugins},
        "format_sha256": codec.format.sha256,
        "codec_fingerprint": codec.fingerprint,
        "streams": {name: spec.fingerprint for name, spec in codec.streams.items()},
        "text_fingerprint": codec.text_encoder.fingerprint,
        "components": dict(components),
        "config": dict(config or {}),
    }
    partial = root / f".{RUN_FILE}.partial"
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(root / RUN_FILE)


def installed_versions() -> dict[str, str]:
    """Versions of the libraries that decide results."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def read_run_file(directory: str | Path) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        DataError: there is no such file, or it is no JSON.
        FormatError: it is of another version.
    """
    path = Path(directory) / RUN_FILE
    if not path.exists():
        raise DataError(f"{directory}: no run directory (it has no {RUN_FILE}): train one with stlm train or stlm demo")
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not valid JSON ({error}): the run directory is damaged") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: {type(content).__name__}, expected a JSON object: the run directory is damaged")
    if content.get("run_version") != RUN_VERSION:
        raise FormatError(f"{path}: run version {content.get('run_version')}, this stlm reads {RUN_VERSION}")
    for key, kind in RUN_KEYS.items():
        value = content.get(key)
        names = value.values() if isinstance(value, dict) else ()
        if not isinstance(value, kind) or not all(isinstance(name, str) for name in names):
            expected = "text" if kind is str else "an object of texts"
            raise DataError(f"{path}: {key} is {value!r}, expected {expected}: the run directory is damaged")
    return content


def load_format(path: str | Path) -> Format:
    """A format from its YAML file.

    Raises:
        DataError: the file cannot be read, or is no mapping of YAML.
        FormatError: an entry is unknown, missing or of the wrong kind.
    """
    try:
        data = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as a format: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: cannot be read as a format: got {type(data).__name__}, expected blocks and layouts")
    try:
        return Format.from_dict(data)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise FormatError(f"{path}: an entry is not of the kind that a format has there ({error})") from error


def run_parts(directory: str | Path) -> Parts:
    """What a run directory holds, nothing loaded yet.

    Raises:
        DataError: it is no run directory, or damaged. FormatError: it is of another version.
    """
    root = Path(directory)
    run = read_run_file(root)
    components: dict[str, str] = run["components"]
    roles = ["text", *(f"encoders/{name}" for name in run["streams"]), "backbone", "vocoder"]
    return Parts(
        where=str(root),
        format=load_format(root / "format.yaml"),
        parts={
            role: Choice(name=components[role], options={"path": str(root / role)})
            for role in roles
            if role in components
        },
        trained_with=run,
    )


def _check_ours(root: Path) -> None:
    """Raise DataError where saving would remove what no run of ours has written."""
    found = [name for name in PARTS if (root / name).exists()]
    if not found:
        return
    try:
        read_run_file(root)
    except StlmError as error:
        raise DataError(
            f"{root}: holds {', '.join(found)}, which saving would replace, but no run of this stlm ({error}): "
            "choose another directory"
        ) from error


def _fresh(directory: Path) -> Path:
    """An empty directory, whatever was there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory
