"""What the 25 Hz encoder is made of, from either layout; saved as ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import HubertConfig, HubertModel

from stlm.errors import FormatError
from stlm.learn.fingerprint import fingerprint
from stlm.learn.speech_model import filled_model
from stlm.learn.weights import entry, read_json, read_weights
from stlm_hubert.quantizer import QuantizerSizes, make_quantizer

LAYER = 11  # its output, after its last norm, is the feature; of a model with fewer layers, the last
SAMPLE_RATE = 16000

OPTIONS = "config.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hubert25HzModel:
    """Weights and sizes.

    Args:
        options: of ``HubertConfig``, where they differ from its defaults.
        state: tensors by the names of ``HubertModel``, up to the last layer that is run, weight norm folded.
        sizes: of the quantizer.
        quantizer: its tensors, keys ``0, 2, 4``.
        chunk: samples of the longest piece, where the encoder was saved with one; else 0.
    """

    options: dict[str, Any]
    state: dict[str, torch.Tensor]
    sizes: QuantizerSizes
    quantizer: dict[str, torch.Tensor]
    chunk: int = 0

    @classmethod
    def checked(
        cls,
        *,
        options: Mapping[str, Any],
        state: Mapping[str, torch.Tensor],
        sizes: QuantizerSizes,
        quantizer: Mapping[str, torch.Tensor],
        paths: tuple[Path, Path],
    ) -> Hubert25HzModel:
        """The model with layers above the last one and training's leftovers dropped.

        Args:
            paths: where `state` and `quantizer` come from, for messages.

        Raises:
            FormatError: a tensor is missing, unknown or of another shape.
        """
        used = {name: value for name, value in state.items() if _is_used(name, options["num_hidden_layers"])}
        model = filled_model(HubertModel, HubertConfig(**options), used, paths[0])
        layers = make_quantizer(sizes, quantizer, paths[1])
        return cls(
            options=dict(options),
            state={name: value.contiguous() for name, value in model.state_dict().items() if name in used},
            sizes=sizes,
            quantizer=layers.state_dict(),
        )

    def hubert(self) -> HubertModel:
        return filled_model(HubertModel, HubertConfig(**self.options), self.state, "the model")

    def quantizer_layers(self) -> nn.Sequential:
        return make_quantizer(self.sizes, self.quantizer, "the quantizer")

    def fingerprint_at(self, chunk: int) -> str:
        """Of weights, options and `chunk`, equal for both layouts; precision and device only round and do not count."""
        identity = {"hubert": self.options, "quantizer": asdict(self.sizes), "chunk": chunk}
        return fingerprint(self._arrays, identity)

    @property
    def _arrays(self) -> dict[str, torch.Tensor]:
        named = {f"hubert.{name}": value for name, value in self.state.items()}
        return named | {f"quantizer.{name}": value for name, value in self.quantizer.items()}

    def save(self, directory: Path, stream: str, chunk: int) -> None:
        save_file(self._arrays, directory / WEIGHTS)
        content = {"stream": stream, "chunk": chunk, "hubert": self.options, "quantizer": asdict(self.sizes)}
        (directory / OPTIONS).write_text(json.dumps(content, indent=2) + "\n")


def read_saved(directory: Path) -> Hubert25HzModel:
    """What `Hubert25HzModel.save` wrote.

    Raises:
        DataError: a file is missing or unreadable. FormatError: it holds something else.
    """
    path = directory / OPTIONS
    content = read_json(path)
    options = entry(content, "hubert", dict, path)
    arrays = read_weights(directory / WEIGHTS)
    try:
        HubertConfig(**options)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise FormatError(f"{path}: key 'hubert' is no configuration ({reason}): save the encoder again") from error
    entry(options, "num_hidden_layers", int, path)
    model = Hubert25HzModel.checked(
        options=options,
        state=_under("hubert.", arrays),
        sizes=QuantizerSizes.from_mapping(entry(content, "quantizer", dict, path), path),
        quantizer=_under("quantizer.", arrays),
        paths=(directory / WEIGHTS, directory / WEIGHTS),
    )
    return replace(model, chunk=entry({"chunk": 0, **content}, "chunk", int, path))


def _under(prefix: str, arrays: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _is_used(name: str, num_layers: int) -> bool:
    if name == "masked_spec_embed":
        return False
    parts = name.split(".")
    above = parts[:2] == ["encoder", "layers"] and parts[2].isdigit() and int(parts[2]) >= num_layers
    return not above
