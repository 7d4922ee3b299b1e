"""A ``Wav2Vec2ForSequenceClassification`` directory to its parts, and back: ``config.json`` and one weights file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from stlm.errors import DataError, FormatError
from stlm.learn.fingerprint import fingerprint
from stlm.learn.speech_model import filled_model
from stlm.learn.speech_transformer import check_supported
from stlm.learn.weights import compact, entry, fold_weight_norm, load_exactly, read_json, read_weights

OPTIONS = "config.json"
SAFE, TORCH = "model.safetensors", "pytorch_model.bin"
BODY = "wav2vec2."
HEAD = ("projector", "classifier")
CHUNK = "stlm_chunk"  # our own key of config.json; transformers passes it over
UNUSED = "wav2vec2.masked_spec_embed"  # only training masks frames


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleClassifier:
    """The classifier as it is stored.

    Args:
        options: the content of ``config.json``.
        state: tensors by Hugging Face's names; weight normalisation as stored, in either form.
        path: where they come from, for messages.
    """

    options: dict[str, Any]
    state: dict[str, torch.Tensor]
    path: str

    @property
    def config(self) -> Wav2Vec2Config:
        """The configuration.

        Raises:
            FormatError: it is none of a wav2vec2 classifier.
        """
        where = f"{self.path}: {OPTIONS}"
        if self.options.get("model_type") != "wav2vec2":
            raise FormatError(f"{where}: model_type is {self.options.get('model_type')!r}, expected 'wav2vec2'")
        try:
            config = Wav2Vec2Config(**self.options)
        except Exception as error:
            raise FormatError(f"{where} is no wav2vec2 configuration ({' '.join(str(error).split())[:200]})") from error
        if config.use_weighted_layer_sum:
            raise FormatError(f"{where}: use_weighted_layer_sum is true, expected false: not a supported classifier")
        check_supported(config)
        return config

    def parts(self) -> tuple[Wav2Vec2Model, nn.Linear, nn.Linear]:
        """The transformer, the projector and the classifier; float32, in evaluation mode.

        Raises:
            FormatError: a tensor is missing, unknown or of another shape.
        """
        config, folded = self.config, fold_weight_norm(self.state, self.path)
        known = (BODY, *(f"{name}." for name in HEAD))
        unknown = [name for name in folded if not name.startswith(known)]
        if unknown:
            raise FormatError(f"{self.path}: unexpected key {unknown[0]!r}, expected keys under {', '.join(known)}")
        body = filled_model(Wav2Vec2Model, config, _under(BODY, folded), self.path)
        head = nn.ModuleDict(
            {
                "projector": nn.Linear(config.hidden_size, config.classifier_proj_size),
                "classifier": nn.Linear(config.classifier_proj_size, config.num_labels),
            }
        )
        load_exactly(head, {name: value for name, value in folded.items() if not name.startswith(BODY)}, self.path)
        head.eval().requires_grad_(False)
        return body, head["projector"], head["classifier"]

    @property
    def chunk(self) -> int:
        """Samples of the longest piece, where the encoder was saved with one; else 0."""
        return entry({CHUNK: 0, **self.options}, CHUNK, int, f"{self.path}: {OPTIONS}")

    def fingerprint_at(self, chunk: int) -> str:
        """Of the weights that are used, options that decide shapes, and `chunk`; not of how weight norm is stored."""
        folded = fold_weight_norm(self.state, self.path)
        folded.pop(UNUSED, None)
        heads = {"num_attention_heads": self.config.num_attention_heads, "conv_stride": list(self.config.conv_stride)}
        heads["chunk"] = chunk
        return fingerprint(folded, heads)

    def save(self, directory: Path, chunk: int) -> None:
        (directory / OPTIONS).write_text(json.dumps({**self.options, CHUNK: chunk}, indent=2) + "\n")
        save_file(compact(self.state), directory / SAFE)


def read_classifier(directory: Path) -> StyleClassifier:
    """A classifier from a directory.

    Raises:
        DataError: a file is missing or unreadable. FormatError: the weights are no tensors.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such directory, expected one with {OPTIONS} and {TORCH} or {SAFE}")
    options = read_json(directory / OPTIONS)
    weights = directory / SAFE if (directory / SAFE).exists() else directory / TORCH
    state = read_weights(weights)
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{weights}: key {name!r} holds {type(value).__name__}, expected a tensor")
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    return StyleClassifier(options=options, state=state, path=str(weights))


def _under(prefix: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
