"""The files of a pitch VQ-VAE: ``config.yaml`` and weights, in the official checkpoint layout or in ours.

The official layout keeps the weights in ``model.pt`` under the key ``model``; ours in ``model.safetensors``, with the
same names, and adds a section ``stlm`` to the YAML: stream and F0 extractor. Both are read as data; nothing runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from stlm.errors import ConfigError, DataError, FormatError, did_you_mean
from stlm.learn.weights import entry, load_exactly, read_weights
from stlm_pitch.contour import ContourOptions
from stlm_pitch.vqvae import StackOptions, Vqvae, VqvaeOptions

SETTINGS = "config.yaml"
OFFICIAL_WEIGHTS = "model.pt"
OUR_WEIGHTS = "model.safetensors"
SAMPLE_RATE = 16000

STACK_KEYS = {
    "input_emb_width": int,
    "output_emb_width": int,
    "levels": int,
    "downs_t": list,
    "strides_t": list,
    "width": int,
    "depth": int,
    "m_conv": float,
    "dilation_growth_rate": int,
}
SWITCHES = ("res_scale", "dilation_cycle", "reverse_decoder_dilation")
"""Keys of a stack that may be there as long as they are off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A VQ-VAE and what belongs to it.

    Args:
        vqvae: the network with its weights, on the CPU.
        contour: what it was trained on.
        settings: the file's own YAML, kept for saving.
        extras: the section ``stlm`` of what we saved; empty for the official layout.
    """

    vqvae: Vqvae
    contour: ContourOptions
    settings: Mapping[str, Any]
    extras: Mapping[str, Any]

    def save(self, directory: Path, extras: Mapping[str, Any]) -> None:
        """Write our layout into an existing directory."""
        save_file(
            {name: value.contiguous() for name, value in self.vqvae.state_dict().items()}, directory / OUR_WEIGHTS
        )
        settings = {**self.settings, "stlm": dict(extras)}
        (directory / SETTINGS).write_text(yaml.safe_dump(settings, sort_keys=False))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a directory of either layout.

    Raises:
        ConfigError: no path. DataError: a file is missing or unreadable. FormatError: a key or shape is wrong.
    """
    if not path:
        raise ConfigError(
            "pitch_vqvae needs path: a directory with config.yaml and model.pt or model.safetensors, got ''"
        )
    directory = Path(path)
    settings, file = read_settings(directory / SETTINGS), directory / SETTINGS
    try:
        contour = _contour_options(settings, file)
        with torch.random.fork_rng(devices=[]):
            vqvae = Vqvae(_vqvae_options(settings, file))
    except FormatError as error:
        raise error if str(error).startswith(str(file)) else FormatError(f"{file}: {error}") from error
    weights = directory / OUR_WEIGHTS
    if weights.exists():
        load_exactly(vqvae, read_weights(weights), weights)
    else:
        weights = directory / OFFICIAL_WEIGHTS
        load_exactly(vqvae, entry(read_weights(weights), "model", dict, weights), weights)
    extras = settings.get("stlm") or {}
    if not isinstance(extras, dict):
        raise FormatError(f"{file}: key 'stlm' holds {type(extras).__name__}, expected a mapping")
    return Checkpoint(vqvae=vqvae.eval().requires_grad_(False), contour=contour, settings=settings, extras=extras)


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, as plain data.

    Raises:
        DataError: the file is missing or no YAML mapping.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected the settings of a pitch VQ-VAE: check the path")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as plain YAML ({reason}): copy it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {type(content).__name__}, expected a mapping of settings")
    return content


def _contour_options(settings: Mapping[str, Any], file: Path) -> ContourOptions:
    rate = settings.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise FormatError(f"{file}: key 'sampling_rate' is {rate!r}, expected {SAMPLE_RATE}")
    return ContourOptions.from_features(entry(settings, "features", str, file), bool(settings.get("speaker_norm")))


def _vqvae_options(settings: Mapping[str, Any], file: Path) -> VqvaeOptions:
    codebook = entry(settings, "vq_params", dict, file)
    where = f"{file}: vq_params"
    if codebook.get("levels", 1) != 1:
        raise FormatError(f"{where}: key 'levels' is {codebook['levels']!r}, expected 1")
    return VqvaeOptions(
        encoder=_stack_options(settings, "encoder_params", file),
        decoder=_stack_options(settings, "decoder_params", file),
        num_units=_number(codebook, "l_bins", int, where),
        emb_width=_number(codebook, "emb_width", int, where),
    )


def _stack_options(settings: Mapping[str, Any], section: str, file: Path) -> StackOptions:
    given, where = entry(settings, section, dict, file), f"{file}: {section}"
    for key, value in given.items():
        if key not in STACK_KEYS and not (key in SWITCHES and not value):
            raise FormatError(f"{where}: unknown key {key!r}{did_you_mean(str(key), STACK_KEYS)} = {value!r}")
    numbers = {key: _number(given, key, kind, where) for key, kind in STACK_KEYS.items()}
    if numbers["levels"] != 1:
        raise FormatError(f"{where}: key 'levels' is {numbers['levels']}, expected 1")
    if numbers["input_emb_width"] != 2:
        raise FormatError(f"{where}: key 'input_emb_width' is {numbers['input_emb_width']}, expected 2: F0 and voicing")
    return StackOptions(
        input_width=numbers["input_emb_width"],
        output_width=numbers["output_emb_width"],
        downs=numbers["downs_t"],
        stride=numbers["strides_t"],
        width=numbers["width"],
        depth=numbers["depth"],
        m_conv=numbers["m_conv"],
        dilation_growth_rate=numbers["dilation_growth_rate"],
    )


def _number(section: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """A positive number; of a `list`, the integer for its only level."""
    value = entry(section, key, object, where)
    if kind is list:
        if not isinstance(value, list) or len(value) != 1:
            raise FormatError(f"{where}: key {key!r} is {value!r}, expected a list of one number, for one level")
        value = value[0]
    allowed = (int, float) if kind is float else int
    if isinstance(value, bool) or not isinstance(value, allowed) or value <= 0:
        raise FormatError(
            f"{where}: key {key!r} is {value!r}, expected a positive {'number' if kind is float else 'integer'}"
        )
    return value
