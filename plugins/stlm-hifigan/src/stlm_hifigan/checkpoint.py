"""The files of a vocoder: ``config.json`` and weights, in the official checkpoint layout or in ours.

The official layout keeps the weights in ``generator.pt`` under the key ``generator``, with weight normalisation in
either stored form; ours in ``generator.safetensors``, folded, and adds a section ``stlm`` to the JSON, which others
pass over. ``speakers.txt`` and ``styles.txt``, one name per line, may lie beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from stlm.errors import ConfigError, DataError, FormatError
from stlm.learn.weights import compact, entry, fold_weight_norm, load_exactly, read_json, read_weights
from stlm_hifigan.excitation import ExcitationOptions
from stlm_hifigan.generator import TABLES, Generator, GeneratorOptions

SETTINGS = "config.json"
OFFICIAL_WEIGHTS = "generator.pt"
OUR_WEIGHTS = "generator.safetensors"
SPEAKERS = "speakers.txt"
STYLES = "styles.txt"
SAMPLE_RATE = 16000
UNSUPPORTED = ("f0", "f0_quant_num_bin", "embedder_params")
"""Generators that read raw F0 or speaker vectors; no official unit vocoder does."""
NEEDED_TABLES = {
    "multispkr": "spkr",
    "multistyle": "style",
    "num_f0_tokens": "f0_dict",
    "num_style_tokens": "style_dict",
}
"""Settings that promise an embedding table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A generator and what belongs to it.

    Args:
        generator: with its weights, on the CPU.
        sample_rate: of its sound, in Hz.
        voices: names of the first rows of the speaker table, or empty.
        styles: names of the first rows of the style table, or empty.
        settings: the file's own JSON, kept for saving.
        extras: the section ``stlm`` of what we saved; empty for the official layout.
    """

    generator: Generator
    sample_rate: int
    voices: tuple[str, ...]
    styles: tuple[str, ...]
    settings: Mapping[str, Any]
    extras: Mapping[str, Any]

    def save(self, directory: Path, extras: Mapping[str, Any]) -> None:
        """Write our layout into an existing directory."""
        save_file(compact(self.generator.state_dict()), directory / OUR_WEIGHTS)
        self._save_texts(directory, extras)

    def save_official(self, directory: Path, extras: Mapping[str, Any]) -> None:
        """Write the official layout into an existing directory, for programs that read no other."""
        state = unfold_weight_norm(self.generator)
        torch.save({"generator": state}, directory / OFFICIAL_WEIGHTS)
        self._save_texts(directory, extras)

    def _save_texts(self, directory: Path, extras: Mapping[str, Any]) -> None:
        settings = {**self.settings, "stlm": dict(extras)}
        (directory / SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        for file, names in ((SPEAKERS, self.voices), (STYLES, self.styles)):
            if names:
                (directory / file).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a directory of either layout.

    Raises:
        ConfigError: no path. DataError: a file is missing or unreadable. FormatError: a key or shape is wrong.
    """
    if not path:
        raise ConfigError("hifigan needs path: a directory with config.json and generator.pt or .safetensors, got ''")
    directory = Path(path)
    settings = read_json(directory / SETTINGS)
    weights, state = _read_state(directory)
    options = _options(settings, directory / SETTINGS, state, weights)
    with torch.random.fork_rng(devices=[]):
        generator = Generator(options)
    load_exactly(generator, state, weights)
    return Checkpoint(
        generator=generator.eval().requires_grad_(False),
        sample_rate=_integer(settings, "sampling_rate", directory / SETTINGS, SAMPLE_RATE),
        voices=_names(directory / SPEAKERS, options, "spkr"),
        styles=_names(directory / STYLES, options, "style"),
        settings=settings,
        extras=entry({"stlm": {}, **settings}, "stlm", dict, directory / SETTINGS),
    )


def unfold_weight_norm(generator: Generator) -> dict[str, torch.Tensor]:
    """The weights with magnitude ``weight_g`` and direction ``weight_v`` for all convolutions but those of the duration
    predictor, as the official layout stores them."""
    found: dict[str, torch.Tensor] = {}
    for name, value in generator.state_dict().items():
        if value.dim() == 3 and not name.startswith("dur_predictor."):
            found[f"{name}_g"] = value.flatten(1).norm(dim=1)[:, None, None]
            found[f"{name}_v"] = value.clone()
        else:
            found[name] = value.clone()
    return found


def settings_of(options: GeneratorOptions, sample_rate: int, hops: Mapping[str, int]) -> dict[str, Any]:
    """What ``config.json`` says of a generator.

    Args:
        options: of the generator.
        sample_rate: of its sound.
        hops: samples between two codes of the streams of pitch and style, by table.
    """
    units, width = options.tables["dict"]
    settings: dict[str, Any] = {
        "resblock": "1",
        "upsample_rates": list(options.upsample_rates),
        "upsample_kernel_sizes": list(options.upsample_kernels),
        "upsample_initial_channel": options.initial_channels,
        "resblock_kernel_sizes": list(options.resblock_kernels),
        "resblock_dilation_sizes": [list(dilations) for dilations in options.resblock_dilations],
        "num_embeddings": units,
        "embedding_dim": width,
        "model_in_dim": options.input_width,
        "sampling_rate": sample_rate,
        "code_hop_size": options.hop,
    }
    for flag, count, table in (("multispkr", "num_speakers", "spkr"), ("multistyle", "num_styles", "style")):
        if table in options.tables:
            settings |= {flag: "from_input_file", count: options.tables[table][0]}
    for count, hop, table in (
        ("num_f0_tokens", "f0_hop_size", "f0_dict"),
        ("num_style_tokens", "style_hop_size", "style_dict"),
    ):
        if table in options.tables:
            settings |= {count: options.tables[table][0], hop: hops[table]}
    if options.excitation is not None:
        settings["excitation"] = {
            "frames": options.excitation.frames,
            "width": options.excitation.width,
            "bands": options.excitation.bands,
            "tone_width": options.excitation.tone_width,
        }
    if options.duration is not None:
        hidden, kernel = options.duration
        settings["dur_predictor_params"] = {
            "encoder_embed_dim": width,
            "var_pred_hidden_dim": hidden,
            "var_pred_kernel_size": kernel,
            "var_pred_dropout": 0.0,
        }
    return settings


def _read_state(directory: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    """The file that was read, and the folded weights in it."""
    ours = directory / OUR_WEIGHTS
    if ours.exists():
        return ours, read_weights(ours)
    official = directory / OFFICIAL_WEIGHTS
    state = entry(read_weights(official), "generator", dict, official)
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{official}: key {name!r} holds {type(value).__name__}, expected a tensor")
    return official, fold_weight_norm(state, official)


def _options(
    settings: Mapping[str, Any], file: Path, state: Mapping[str, torch.Tensor], weights: Path
) -> GeneratorOptions:
    if str(settings.get("resblock", "1")) != "1":
        raise FormatError(f"{file}: key 'resblock' is {settings['resblock']!r}, expected '1'")
    for key in UNSUPPORTED:
        if settings.get(key):
            raise FormatError(
                f"{file}: key {key!r} is {settings[key]!r}, expected it off: such generators are not supported"
            )
    try:
        options = GeneratorOptions(
            tables=_tables(settings, file, state, weights),
            upsample_rates=_integers(settings, "upsample_rates", file),
            upsample_kernels=_integers(settings, "upsample_kernel_sizes", file),
            initial_channels=_integer(settings, "upsample_initial_channel", file),
            resblock_kernels=_integers(settings, "resblock_kernel_sizes", file),
            resblock_dilations=_lists(settings, "resblock_dilation_sizes", file),
            duration=_duration(settings, file, state),
            excitation=_excitation(settings, file),
        )
    except FormatError as error:
        raise error if str(error).startswith(str(file.parent)) else FormatError(f"{file}: {error}") from error
    for key, got in (("code_hop_size", options.hop), ("model_in_dim", options.input_width)):
        if settings.get(key, got) != got:
            raise FormatError(
                f"{file}: key {key!r} is {settings[key]!r}, expected {got} by the other keys and the weights"
            )
    return options


def _tables(
    settings: Mapping[str, Any], file: Path, state: Mapping[str, torch.Tensor], weights: Path
) -> dict[str, tuple[int, int]]:
    """Rows and width of the tables that the weights hold."""
    promised = {"dict", *(table for key, table in NEEDED_TABLES.items() if settings.get(key))}
    found: dict[str, tuple[int, int]] = {}
    for name in TABLES:
        table = state.get(f"{name}.weight")
        if table is None and name in promised:
            raise FormatError(f"{weights}: no key '{name}.weight', expected an embedding table: {file} asks for it")
        if table is not None:
            if table.dim() != 2 or not len(table):
                raise FormatError(
                    f"{weights}: key '{name}.weight' has shape {list(table.shape)}, expected [rows, width]"
                )
            found[name] = (table.shape[0], table.shape[1])
    return found


def _duration(settings: Mapping[str, Any], file: Path, state: Mapping[str, torch.Tensor]) -> tuple[int, int] | None:
    """Hidden width and kernel of the duration predictor; None where neither settings nor weights know of one."""
    given = settings.get("dur_predictor_params")
    if not given and not any(name.startswith("dur_predictor.") for name in state):
        return None
    given = entry(settings, "dur_predictor_params", dict, file)
    kernel = _integer(given, "var_pred_kernel_size", f"{file}: dur_predictor_params")
    if kernel != 3:
        raise FormatError(
            f"{file}: dur_predictor_params: key 'var_pred_kernel_size' is {kernel}, expected 3: others lose frames"
        )
    return _integer(given, "var_pred_hidden_dim", f"{file}: dur_predictor_params"), kernel


def _excitation(settings: Mapping[str, Any], file: Path) -> ExcitationOptions | None:
    """Of our layout alone."""
    if "excitation" not in settings:
        return None
    given, where = entry(settings, "excitation", dict, file), f"{file}: excitation"
    return ExcitationOptions(
        frames=_integer(given, "frames", where),
        width=_integer(given, "width", where),
        bands=_integer(given, "bands", where),
        tone_width=_integer(given, "tone_width", where),
        sample_rate=_integer(settings, "sampling_rate", file, SAMPLE_RATE),
    )


def _integer(settings: Mapping[str, Any], key: str, where: str | Path, default: int | None = None) -> int:
    if default is not None and key not in settings:
        return default
    value = entry(settings, key, object, where)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"{where}: key {key!r} is {value!r}, expected a positive integer")
    return value


def _integers(settings: Mapping[str, Any], key: str, where: str | Path) -> tuple[int, ...]:
    values = entry(settings, key, list, where)
    if not values:
        raise FormatError(f"{where}: key {key!r} is empty, expected positive integers")
    return tuple(_integer({key: value}, key, where) for value in values)


def _lists(settings: Mapping[str, Any], key: str, where: str | Path) -> tuple[tuple[int, ...], ...]:
    return tuple(_integers({key: values}, key, where) for values in entry(settings, key, list, where))


def _names(path: Path, options: GeneratorOptions, table: str) -> tuple[str, ...]:
    """The lines of a file of names; none without the file."""
    if not path.is_file() or table not in options.tables:
        return ()
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}): copy it again") from error
    if len(names) > options.tables[table][0]:
        raise FormatError(
            f"{path}: {len(names)} names for {options.tables[table][0]} rows of '{table}.weight', expected no more"
        )
    return names
