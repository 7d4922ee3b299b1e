"""Optimizers over a backbone: AdamW as everybody uses it, and Muon for the matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stlm.interfaces.backbone import BackboneLM

OptimizerFactory = Callable[[BackboneLM], torch.optim.Optimizer]


def split_parameters(backbone: BackboneLM) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Trained parameters as (matrices of the layers, embedding and head tables, vectors)."""
    tables = {id(parameter) for parameter in backbone.head_parameters()}
    matrices, heads, vectors = [], [], []
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            kind = heads if id(parameter) in tables else matrices if parameter.ndim == 2 else vectors
            kind.append(parameter)
    return matrices, heads, vectors


def decay_groups(backbone: BackboneLM, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups in which weight decay falls on matrices and tables, not on norms and biases."""
    matrices, heads, vectors = split_parameters(backbone)
    groups = [
        {"params": [*matrices, *heads], "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the layers' matrices, AdamW for tables and vectors, as one optimizer.

    Muon's updates are scaled to the size that AdamW's have ("match_rms_adamw", Liu et al. 2025), so that one learning
    rate serves both. In the demo it reaches in 500 steps what AdamW does not reach in 1,000.

    Args:
        backbone: whose parameters are trained.
        lr: peak learning rate.
        betas: AdamW's.
        weight_decay: falls on the layers' matrices.
        momentum: Muon's.
    """

    def __init__(
        self,
        backbone: BackboneLM,
        *,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        matrices, heads, vectors = split_parameters(backbone)
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if matrices:
            self.parts["muon"] = torch.optim.Muon(
                matrices, lr=lr, weight_decay=weight_decay, momentum=momentum, adjust_lr_fn="match_rms_adamw"
            )
        if heads or vectors:
            self.parts["adamw"] = torch.optim.AdamW([*heads, *vectors], lr=lr, betas=betas, weight_decay=0.0)
        super().__init__([*matrices, *heads, *vectors], {"lr": lr})
        # schedulers write into these groups; they are the parts' own
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss = closure() if closure is not None else None
        for part in self.parts.values():
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(state_dict[name])
        self.param_groups = [group for part in self.parts.values() for group in part.param_groups]
