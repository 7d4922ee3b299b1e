"""Next-token loss over hidden states in chunks: full logits ``[B, S, V]`` never exist."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from stlm.interfaces.backbone import BackboneLM

IGNORE = -100


def token_losses(
    backbone: BackboneLM, hidden: torch.Tensor, labels: torch.Tensor, *, chunk: int = 8192
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood of every labelled position.

    Args:
        backbone: gives logits of hidden states.
        hidden: ``float[B, S, D]``.
        labels: ``int64[B, S]``, -100 where nothing counts.
        chunk: positions whose logits exist at once; their logits are computed again in the backward pass where
            there is more than one chunk.

    Returns:
        ``float32[M]`` losses and ``int64[M]`` labels of the M positions that count, in row-major order.
    """
    counted = labels != IGNORE
    states, targets = hidden[counted], labels[counted]

    def loss_of(part: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(backbone.logits(part).float(), target, reduction="none")

    if len(targets) <= chunk:
        return loss_of(states, targets), targets
    parts = [
        checkpoint(loss_of, part, target, use_reentrant=False)
        for part, target in zip(states.split(chunk), targets.split(chunk), strict=True)
    ]
    return torch.cat(parts), targets  # pyright: ignore[reportArgumentType]
