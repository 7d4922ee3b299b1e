"""Log-likelihoods of given sequences, in fp32, batched by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from stlm.interfaces.backbone import BackboneLM
from stlm.interfaces.batch import PackedBatch


@torch.inference_mode()
def log_likelihoods(
    backbone: BackboneLM,
    sequences: Sequence[np.ndarray],
    *,
    tokens_per_batch: int = 8192,
    progress: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Log-probability of every id given those before it.

    Args:
        backbone: the model.
        sequences: ``int[S]`` each.
        tokens_per_batch: upper limit of ids per forward pass, padding included.
        progress: called with the number of sequences that each pass has scored.

    Returns:
        ``float32[S]`` per sequence; the first id has no condition and gets 0. Order as given; independent of batching
        up to float noise.
    """
    found: list[np.ndarray] = [np.zeros(len(ids), np.float32) for ids in sequences]
    order = sorted(
        (index for index in range(len(sequences)) if len(sequences[index]) > 1), key=lambda i: -len(sequences[i])
    )
    device = next(backbone.parameters()).device
    while order:
        longest = len(sequences[order[0]])
        count = max(1, tokens_per_batch // longest)
        taken, order = order[:count], order[count:]
        ids = np.zeros((len(taken), longest), np.int64)
        segments = np.zeros_like(ids)
        for row, index in enumerate(taken):
            ids[row, : len(sequences[index])] = sequences[index]
            segments[row, : len(sequences[index])] = 1
        positions = np.arange(longest) * segments
        batch = PackedBatch(
            ids=torch.from_numpy(ids), segments=torch.from_numpy(segments), positions=torch.from_numpy(positions)
        ).to(device)
        logits = backbone.logits(backbone(batch).last[:, :-1]).float()
        chosen = torch.log_softmax(logits, -1).gather(-1, batch.ids[:, 1:, None])[..., 0].cpu().numpy()
        for row, index in enumerate(taken):
            found[index][1:] = chosen[row, : len(sequences[index]) - 1]
        if progress is not None:
            progress(len(taken))
    return found
