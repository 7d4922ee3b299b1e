"""Hugging Face speech models from tensors at hand, and units of long sounds piece by piece, for encoder plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from stlm.audio import resample
from stlm.errors import DataError
from stlm.learn.weights import load_exactly
from stlm.types import Audio, StreamSpec, Units, as_codes

Model = TypeVar("Model", bound=nn.Module)


def filled_model(
    kind: Callable[[Any], Model],
    config: Any,
    state: Mapping[str, torch.Tensor],
    path: object,
    *,
    ignore: Iterable[str] = (),
) -> Model:
    """A model in evaluation mode with weights from `state`, without a random start that would be overwritten.

    Args:
        kind: ``HubertModel`` or ``Wav2Vec2Model``.
        config: its configuration.
        state: tensors by the model's names, weight normalisation folded (`stlm.learn.weights.fold_weight_norm`).
        path: where they come from, for messages.
        ignore: patterns of names in `state` that nobody needs.

    Raises:
        FormatError: a tensor is missing, unknown or of another shape. The vector for masked frames of training may be
            missing.
    """
    with torch.device("meta"):
        model = kind(config)
    for module in model.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    model = model.to_empty(device="cpu")
    load_exactly(model, state, str(path), ignore=ignore, absent=["masked_spec_embed"])
    return model.eval().requires_grad_(False)


def units_of_pieces(
    spec: StreamSpec, batch: Sequence[Audio], codes_of: Callable[[list[np.ndarray]], list[np.ndarray]]
) -> list[Units]:
    """Units of each sound, encoded in independent pieces as `spec` says, those of all sounds in one call.

    Args:
        spec: of one codebook.
        batch: sounds at any rate.
        codes_of: waves ``float32[N]``, each long enough for a frame, to codes ``int[T]``.

    Raises:
        DataError: a sound holds NaN or infinite samples.
    """
    pieces: list[np.ndarray] = []
    owners: list[int] = []
    for owner, audio in enumerate(batch):
        for piece in _pieces(spec, audio):
            pieces.append(piece)
            owners.append(owner)
    found: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in batch]
    for owner, codes in zip(owners, codes_of(pieces) if pieces else [], strict=True):
        found[owner].append(codes)
    return [Units(spec=spec, codes=as_codes(np.concatenate(parts))) for parts in found]


def _pieces(spec: StreamSpec, audio: Audio) -> list[np.ndarray]:
    samples = resample(audio, spec.sample_rate).samples
    if not np.isfinite(samples).all():
        bad = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise DataError(f"audio holds {samples[bad]} at sample {bad}, expected finite ones: check what made it")
    ends = np.cumsum(spec.pieces(len(samples)))
    shortest = max(spec.shortest, spec.window)
    return [piece for piece in np.split(samples, ends[:-1]) if len(piece) >= shortest]
