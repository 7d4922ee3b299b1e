"""What a training step costs in floating-point operations, and what share of the hardware's peak that is (MFU).

Per token 2 N for the forward pass, 2 N for the gradients of activations and 2 N' for those of the N' weights that are
trained: 6 N in full tuning, about 4 N with adapters (Kaplan et al. 2020; Chowdhery et al. 2022, appendix B). N counts
matrices that are multiplied: the head, and not the embedding, which is looked up. Causal attention costs 4 D more for
each pair of positions of a layer, three times with the backward pass. What is computed again to save memory counts
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils import benchmark

from stlm.interfaces.backbone import BackboneLM
from stlm.interfaces.batch import PackedBatch

PEAKS = {"H200": 989e12, "H100": 989e12, "GH200": 989e12, "A100": 312e12, "A10G": 70e12, "L40S": 362e12, "L4": 121e12}
"""Dense bf16 operations a second by the makers' data sheets; the first name in a device's counts (SXM forms)."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Operations of a training step.

    Args:
        weights: N, weights that a token is multiplied with.
        trained: N', those of them that are trained.
        layers, width: of the backbone; D is the width.
    """

    weights: int
    trained: int
    layers: int
    width: int

    def of(self, num_tokens: int, num_pairs: int) -> float:
        """Operations for so many tokens and pairs of positions (see `attention_pairs`)."""
        return (4.0 * self.weights + 2.0 * self.trained) * num_tokens + 12.0 * self.width * self.layers * num_pairs


def step_cost(backbone: BackboneLM) -> StepCost:
    """The cost of training a backbone as it is set up now; before it is laid over devices."""
    tables = backbone.head_parameters()
    # rows that are trained alone, and adapters of a head, are among them too
    whole = [table for table in tables if table.shape == max(tables, key=torch.numel).shape]
    embedding = whole[0] if whole else None
    is_tied = len(whole) == 1
    weights = trained = 0
    for parameter in backbone.parameters():
        if parameter.ndim < 2 or (parameter is embedding and not is_tied):
            continue
        weights += parameter.numel()
        trained += parameter.numel() * parameter.requires_grad
    width = embedding.shape[1] if embedding is not None else 0
    return StepCost(weights, trained, len(backbone.layers()), width)


def attention_pairs(batch: PackedBatch) -> torch.Tensor:
    """Pairs of positions that see each other: each sees those before it in its document and itself."""
    return ((batch.positions + 1) * (batch.segments > 0)).sum()


def peak_of(device: torch.device) -> float | None:
    """Dense bf16 operations a second that the device's maker states; None where it is not in the table."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in PEAKS.items() if known in name), None)


def attainable(device: torch.device, dtype: torch.dtype = torch.bfloat16, size: int = 4096) -> float:
    """Operations a second of a square matrix product on this device, the best of five; what no training exceeds."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    timer = benchmark.Timer("left @ right", globals={"left": left, "right": right})
    return 2.0 * size**3 / min(timer.timeit(3).mean for _ in range(5))
