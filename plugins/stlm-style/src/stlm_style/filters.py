"""A first convolution that starts as a bank of Gabor filters, as LEAF's does (Zeghidour et al., 2021).

From random weights a front-end spends most of a short training on finding the frequencies; these start with them, in
four phases each, so that what lies behind can add up their rectified outputs to a level.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import Wav2Vec2ForSequenceClassification

from stlm.errors import ConfigError
from stlm_style.pooling import SAMPLE_RATE

PHASES = 4


@torch.no_grad()
def start_as_filters(model: Wav2Vec2ForSequenceClassification, lowest: float, highest: float) -> None:
    """Fill the first convolution ``[C, 1, taps]`` with filters of one norm, C / 4 frequencies on the mel scale.

    Raises:
        ConfigError: C is no multiple of four, or the frequencies are out of order.
    """
    weight = model.wav2vec2.feature_extractor.conv_layers[0].conv.weight
    channels, _, taps = weight.shape
    if channels % PHASES or not 0 < lowest < highest <= SAMPLE_RATE / 2:
        raise ConfigError(
            f"style_units: filters_hz needs a first conv_dim divisible by {PHASES} and 0 < lowest < highest <= "
            f"{SAMPLE_RATE // 2} Hz, got {channels} and [{lowest:g}, {highest:g}]"
        )
    hertz = _hertz(np.linspace(_mel(lowest), _mel(highest), channels // PHASES))
    phases = np.arange(PHASES) * 2 * np.pi / PHASES
    time = (np.arange(taps) - (taps - 1) / 2) / SAMPLE_RATE
    angle = 2 * np.pi * hertz[None, :, None] * time + phases[:, None, None]
    rows = (np.cos(angle) * np.hanning(taps + 2)[1:-1]).reshape(channels, taps)
    weight.copy_(torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))[:, None])


def _mel(hertz: float) -> float:
    return 2595 * np.log10(1 + hertz / 700)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)
