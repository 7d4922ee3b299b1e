"""Vector quantization for training: a codebook that follows what it is given by moving averages.

Rows in, their nearest entries out. Entries are no parameters: each is the moving average of the rows that chose it (van
den Oord et al., "Neural discrete representation learning", 2017, appendix A; Razavi et al., 2019). An entry that hardly
anyone chooses is put onto a random row of the batch (Dhariwal et al., "Jukebox", 2020, section 3.1). Gradients pass
straight through to what made the rows. All of its state is in buffers, so a checkpoint goes on exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stlm.errors import ConfigError
from stlm.learn.unit_quality import UnitUsage, unit_usage

SMALLEST = 1e-5
"""Count that a sum is divided by at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What a codebook makes of ``float32[N, D]``.

    Args:
        codes: ``int64[N]``.
        rows: ``float32[N, D]``, the entries; their gradient is that of the rows given.
        commitment: mean squared distance of the rows from their entries, which pulls the rows.
    """

    codes: torch.Tensor
    rows: torch.Tensor
    commitment: torch.Tensor


class MovingCodebook(nn.Module):
    """Entries ``float32[K, D]``; in training mode every call moves them.

    Args:
        num_entries: K.
        width: D.
        decay: of the moving averages, a call at a time.
        revive_below: moving average of the rows a call that chose an entry, below which it is dead.
        seed: decides where the entries start and where dead ones go.

    Raises:
        ConfigError: a number is out of its range.
    """

    entries: torch.Tensor
    sums: torch.Tensor
    counts: torch.Tensor
    calls: torch.Tensor

    def __init__(
        self, num_entries: int, width: int, *, decay: float = 0.99, revive_below: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__()
        if num_entries < 1 or width < 1 or not 0 <= decay < 1 or not revive_below >= 0:
            raise ConfigError(
                f"a codebook needs entries and a width of 1 or more, a decay in [0, 1) and revive_below of 0 or more, "
                f"got {num_entries}, {width}, {decay} and {revive_below}"
            )
        self.decay, self.revive_below, self.seed = decay, revive_below, seed
        self.register_buffer("entries", torch.zeros(num_entries, width))
        self.register_buffer("sums", torch.zeros(num_entries, width))
        self.register_buffer("counts", torch.zeros(num_entries))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, rows: torch.Tensor) -> Quantized:
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            if self.training and not int(self.calls):
                self._start(rows.detach())
            codes = nearest(rows.detach(), self.entries)
            chosen = self.entries[codes]
            if self.training:
                self._move(rows.detach(), codes)
            return Quantized(
                codes=codes, rows=rows + (chosen - rows).detach(), commitment=F.mse_loss(rows, chosen.detach())
            )

    def _start(self, rows: torch.Tensor) -> None:
        """Entries are random rows of the first call."""
        self.entries.copy_(self._some(rows, len(self.entries)))
        self.counts.fill_(max(self.revive_below, 1.0))
        self.sums.copy_(self.entries * self.counts[:, None])

    def _move(self, rows: torch.Tensor, codes: torch.Tensor) -> None:
        self.calls += 1
        chosen = F.one_hot(codes, len(self.entries)).float()
        self.counts.lerp_(chosen.sum(0), 1 - self.decay)
        self.sums.lerp_(chosen.T @ rows, 1 - self.decay)
        dead = (self.counts < self.revive_below).nonzero()[:, 0]
        if len(dead):
            self.counts[dead] = self.revive_below
            self.sums[dead] = self._some(rows, len(dead)) * self.revive_below
        self.entries.copy_(self.sums / self.counts.clamp_min(SMALLEST)[:, None])

    def _some(self, rows: torch.Tensor, number: int) -> torch.Tensor:
        """Random rows, none twice while there are enough; a function of the seed and the number of calls."""
        rng = np.random.default_rng([self.seed, int(self.calls)])
        places = rng.choice(len(rows), number, replace=len(rows) < number)
        return rows[torch.from_numpy(places).to(rows.device)]


def nearest(rows: torch.Tensor, entries: torch.Tensor) -> torch.Tensor:
    """``int64[N]``: the nearest of ``float32[K, D]`` to each of ``float32[N, D]``; the first of equals."""
    distance = rows.square().sum(1, keepdim=True) - 2 * rows @ entries.T + entries.square().sum(1)
    return distance.argmin(1)


def code_usage(codes: torch.Tensor, num_entries: int) -> UnitUsage:
    """Usage of a codebook of K entries by codes ``int64[N]``."""
    return unit_usage(codes.flatten().cpu().numpy(), num_entries)
