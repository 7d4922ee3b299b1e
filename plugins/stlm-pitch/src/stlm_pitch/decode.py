"""From pitch units back to F0: what the units keep of a voice's melody."""

from __future__ import annotations

import numpy as np
import torch

from stlm.learn.threads import one_thread
from stlm_pitch.contour import F0_MIN
from stlm_pitch.vqvae import Vqvae

VOICED = 0.5
"""The decoder's second output is voicing; what is above this is voiced."""


@torch.inference_mode()
def decoded(vqvae: Vqvae, codes: np.ndarray, mean_hz: float = 0.0) -> np.ndarray:
    """F0 ``float32[T * ratio]`` in Hz, one frame every 5 ms, 0 where unvoiced, of codes ``int[T]``.

    Args:
        vqvae: on the CPU.
        codes: of one piece.
        mean_hz: the speaker's; units know deviations from it alone, if the contour's mean was removed.
    """
    if not len(codes):
        return np.zeros(0, np.float32)
    with one_thread():
        f0, voicing = vqvae.decode(torch.from_numpy(np.asarray(codes, np.int64))[None])[0].numpy()
    f0 = f0 + np.float32(mean_hz)
    return np.where((voicing > VOICED) & (f0 >= F0_MIN), f0, np.float32(0))
