"""What a system is made of, before anything is loaded: a run directory or a preset becomes `Parts`, and they are built.

`stlm encode` builds codec and encoders only, `stlm decode` the vocoder beside them; a language model of many gigabytes
is read by those who use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stlm.codec import Codec
from stlm.errors import ConfigError, FormatError, did_you_mean
from stlm.interfaces.unit_encoder import SpeechUnitEncoder
from stlm.interfaces.vocoder import Vocoder
from stlm.plugin import Choice, Registry, default_registry
from stlm.system import SpeechTextLM
from stlm.types import Format

KINDS = {"text": "unit_encoder", "encoders": "unit_encoder", "backbone": "backbone", "vocoder": "vocoder"}
ENCODERS = "encoders/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A system as names and options.

    Args:
        where: the run directory or preset, for messages.
        format: the token format.
        parts: components by role: ``text``, ``encoders/STREAM``, ``backbone``, ``vocoder``.
        trained_with: ``run.json`` of a run directory; its fingerprints must be those of the codec.
    """

    where: str
    format: Format
    parts: Mapping[str, Choice]
    trained_with: Mapping[str, Any] | None = None

    @property
    def components(self) -> dict[str, str]:
        return {role: part.name for role, part in self.parts.items()}

    def having(self, options: Mapping[str, Any]) -> Parts:
        """With other options for some roles: ``{"encoders.hubert.precision": "bf16"}``.

        Raises:
            ConfigError: there is no such role.
        """
        changed = dict(self.parts)
        for key, value in options.items():
            role, _, option = key.rpartition(".")
            role = role.replace(".", "/")
            if role not in changed:
                roles = [name.replace("/", ".") for name in changed]
                raise ConfigError(
                    f"{self.where}: no part {role!r} in {key!r}{did_you_mean(role, roles)}; parts: {roles}"
                )
            changed[role] = replace(changed[role], options={**changed[role].options, option: value})
        return replace(self, parts=changed)

    def on(self, device: str, registry: Registry | None = None) -> Parts:
        """With every part that has a choice of device on this one; the backbone follows when it is built."""
        found = registry or default_registry()
        keys = {
            f"{role}.device": device
            for role, part in self.parts.items()
            if "device" in {entry.name for entry in fields(found.config_type(_kind(role), part.name))}
        }
        return self.having({key.replace("/", "."): value for key, value in keys.items()})

    def build(self, role: str, registry: Registry | None = None) -> Any:
        """One component.

        Raises:
            ConfigError: the system has no such part.
        """
        if role not in self.parts:
            raise ConfigError(f"{self.where} has no {role}, only {', '.join(self.parts)}")
        return self.parts[role].build(_kind(role), registry)

    def build_codec(self, registry: Registry | None = None) -> tuple[Codec, dict[str, SpeechUnitEncoder]]:
        """Codec, and encoders by stream.

        Raises:
            FormatError: they are not those that the model was trained with.
        """
        text = self.build("text", registry)
        roles = [role for role in self.parts if role.startswith(ENCODERS)]
        encoders: dict[str, SpeechUnitEncoder] = {
            role.removeprefix(ENCODERS): self.build(role, registry) for role in roles
        }
        codec = Codec(self.format, text, {name: encoder.spec for name, encoder in encoders.items()})
        if self.trained_with is not None:
            check_fingerprint(self.trained_with, codec, self.where)
        return codec, encoders

    def build_vocoder(self, registry: Registry | None = None) -> Vocoder | None:
        """The vocoder, or None for systems that only listen."""
        return self.build("vocoder", registry) if "vocoder" in self.parts else None

    def build_system(self, registry: Registry | None = None, device: str | None = None) -> SpeechTextLM:
        """Everything, ready to use."""
        codec, encoders = self.build_codec(registry)
        backbone = self.build("backbone", registry)
        if device is not None:
            backbone.to(device)
        backbone.eval()
        return SpeechTextLM(codec, encoders, backbone, self.build_vocoder(registry), self.components)


def open_parts(
    system: str | Path,
    checkpoint: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Parts:
    """The parts of a SYSTEM: a run directory, or a preset with the directory of its checkpoint.

    Args:
        system: a run directory or the name of a preset.
        checkpoint: where the preset's weights are; presets may name an environment variable for it.
        options: changes to options of parts, ``{"encoders.hubert.precision": "bf16"}``.
        device: where all parts compute.

    Raises:
        ConfigError: it is neither a run directory nor a preset, or the preset has no checkpoint directory.
        DataError: the run directory is damaged.
    """
    from stlm.checkpoint import RUN_FILE, run_parts
    from stlm.preset import preset_parts, presets

    is_run = (Path(system) / RUN_FILE).exists()
    if is_run and checkpoint is not None:
        raise ConfigError(f"{system} is a run directory and holds its own weights: leave out checkpoint {checkpoint}")
    if not is_run and str(system) in presets():
        found = preset_parts(str(system), checkpoint)
    elif checkpoint is not None or (not Path(system).exists() and did_you_mean(str(system), presets())):
        names = presets()
        hint = did_you_mean(str(system), names)
        raise ConfigError(f"no preset {str(system)!r}{hint}; installed: {', '.join(names) or 'none'}")
    else:
        found = run_parts(system)
    found = found.having(options or {})
    return found if device is None else found.on(device)


def check_fingerprint(run: Mapping[str, Any], codec: Codec, where: str | Path) -> None:
    """Raise FormatError if the codec is not the one that the run was trained with, naming what differs."""
    if run["codec_fingerprint"] == codec.fingerprint:
        return
    for name, fingerprint in run["streams"].items():
        got = codec.streams[name].fingerprint if name in codec.streams else "nothing"
        if got != fingerprint:
            raise FormatError(f"{where}: stream {name!r} was trained as {fingerprint[:12]}, the encoder is {got[:12]}")
    if run["text_fingerprint"] != codec.text_encoder.fingerprint:
        raise FormatError(f"{where}: the text tokenizer is not the one that the model was trained with")
    raise FormatError(
        f"{where}: the format's hash is {codec.format.sha256[:12]}, the model was trained with "
        f"{run['format_sha256'][:12]}: format.yaml was changed after training"
    )


def _kind(role: str) -> str:
    return KINDS[role.partition("/")[0]]
