"""Wav2vec2 classifiers to train, from random weights or upon a trained wav2vec2 or HuBERT, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from stlm.errors import ConfigError, FormatError
from stlm.learn.speech_transformer import check_supported
from stlm.learn.weights import fold_weight_norm, load_exactly
from stlm_style.classifier import BODY, OPTIONS, UNUSED, StyleClassifier, read_classifier

DROPOUTS = ("hidden", "attention", "activation", "feat_proj", "feat_quantizer", "final")
STILL = {"layerdrop": 0.0, "apply_spec_augment": False, **{f"{part}_dropout": 0.0 for part in DROPOUTS}}
"""Nothing random within a step: what varies is drawn with the batch, and a training resumes exactly."""
PARTS = ("feature_extractor.", "feature_projection.", "encoder.")
POSITION = "encoder.pos_conv_embed.conv.weight"


def new_classifier(sizes: dict[str, Any], num_labels: int, seed: int) -> Wav2Vec2ForSequenceClassification:
    """A classifier with random weights.

    Args:
        sizes: of its configuration, by Hugging Face's names.
        num_labels: classes.
        seed: decides the weights.

    Raises:
        ConfigError: the sizes do not fit together.
    """
    try:
        config = Wav2Vec2Config(**{**sizes, **STILL, "num_labels": num_labels})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Wav2Vec2ForSequenceClassification(config)
    except Exception as error:  # its checks raise errors of their own kinds
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"style_units: the sizes make no wav2vec2 ({reason}): check conv_* and hidden_size"
        ) from error


def classifier_upon(path: str, projection: int, num_labels: int, seed: int) -> Wav2Vec2ForSequenceClassification:
    """A classifier upon a trained model.

    Args:
        path: directory of a wav2vec2 or HuBERT by Hugging Face, with or without a head.
        projection: dimensions of the projector, which starts at random as the classifier does.
        num_labels: classes.
        seed: decides the random weights.

    Raises:
        DataError: a file is missing or unreadable. ConfigError, FormatError: no such model.
    """
    stored = read_classifier(Path(path))
    options = {**stored.options, "model_type": "wav2vec2", "classifier_proj_size": projection}
    check_supported(Wav2Vec2Config(**{**options, "model_type": stored.options.get("model_type", "none")}))
    for name in ("architectures", "use_weighted_layer_sum", "id2label", "label2id", "torch_dtype", "dtype"):
        options.pop(name, None)
    model = new_classifier(options, num_labels, seed)
    body: Any = model.wav2vec2
    state = _body_of(stored)
    position = state.pop(POSITION, None)
    if position is None:
        raise FormatError(f"{stored.path}: no key {POSITION!r}, expected a wav2vec2 or HuBERT with {', '.join(PARTS)}")
    stem = POSITION.removesuffix("weight")
    load_exactly(body, state, stored.path, absent=["masked_spec_embed", f"{stem}parametrizations.*"])
    with torch.no_grad():
        body.encoder.pos_conv_embed.conv.weight = position  # the parametrisation splits it in magnitude and direction
    return model


def _body_of(stored: StyleClassifier) -> dict[str, torch.Tensor]:
    """Tensors of the model alone, without the prefix and the heads that it may have been stored with."""
    folded = fold_weight_norm(stored.state, stored.path)
    plain = {name.removeprefix(BODY).removeprefix("hubert."): value for name, value in folded.items()}
    return {name: value.float() for name, value in plain.items() if name.startswith(PARTS)}


@torch.no_grad()
def labelled(model: Wav2Vec2ForSequenceClassification, names: Sequence[str]) -> StyleClassifier:
    """The classifier of the labels themselves, as a directory will hold it: a judge of style."""
    return _stored(model, {}, names)


@torch.no_grad()
def quantized(model: Wav2Vec2ForSequenceClassification, centroids: torch.Tensor) -> StyleClassifier:
    """The classifier whose classes are the clusters of the projected means, as a directory will hold it.

    The nearest centroid c of x is the largest ``c x - |c|^2 / 2``, a linear layer: k-means becomes the classifier, and
    nothing has to be distilled.

    Args:
        model: that made the projected means.
        centroids: ``float32[K, D]``.
    """
    head = {"classifier.weight": centroids.clone(), "classifier.bias": -0.5 * centroids.square().sum(1)}
    return _stored(model, head, [f"LABEL_{unit}" for unit in range(len(centroids))])


def _stored(
    model: Wav2Vec2ForSequenceClassification, changed: Mapping[str, torch.Tensor], names: Sequence[str]
) -> StyleClassifier:
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items() if name != UNUSED}
    options = {name: value for name, value in model.config.to_diff_dict().items() if name != "transformers_version"}
    options |= {
        "architectures": [type(model).__name__],
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
    return StyleClassifier(options=options, state={**state, **changed}, path=OPTIONS)
