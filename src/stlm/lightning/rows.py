"""Some rows of embedding and head trained alone, without adapters.

The table becomes a constant, and its named rows a parameter of their own that is put into its place at each use. So no
optimizer, weight decay or momentum can reach another row, and gradients and states are held for the named rows only.
Each use of a table makes a copy of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import parametrize

from stlm.errors import ConfigError
from stlm.interfaces.backbone import BackboneLM


class TrainedRows(nn.Module):
    """A parametrization of a table: ``rows: float[R, D]`` in their places.

    Args:
        table: ``float[V, D]``, where the rows begin.
        places: ``int64[R]``.
    """

    places: torch.Tensor

    def __init__(self, table: torch.Tensor, places: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("places", places, persistent=False)
        self.rows = nn.Parameter(table.detach()[places].clone())

    def forward(self, table: torch.Tensor) -> torch.Tensor:
        return table.index_copy(0, self.places, self.rows)


def split_rows(backbone: BackboneLM, rows: Sequence[int]) -> None:
    """Freeze embedding and head but for these rows; tied tables go on sharing them.

    Raises:
        ConfigError: the backbone does not say which its tables are.
    """
    tables = backbone.head_parameters()
    if not tables:
        raise ConfigError(
            f"tuning.rows: backbone {type(backbone).__name__} names no embedding and no head: leave rows empty"
        )
    parts = {id(table): TrainedRows(table, torch.tensor(rows, device=table.device)) for table in tables}
    for module in list(backbone.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) in parts:
                parametrize.register_parametrization(module, name, parts[id(parameter)])
    for table in tables:
        table.requires_grad_(False)


def trained_rows(backbone: BackboneLM) -> list[nn.Parameter]:
    """The rows that `split_rows` made parameters."""
    return [module.rows for module in backbone.modules() if isinstance(module, TrainedRows)]


@torch.no_grad()
def join_rows(backbone: BackboneLM) -> None:
    """Write the rows into their tables and make these parameters again; nothing happens if there are none."""
    for module in list(backbone.modules()):
        for name, chain in _parametrizations(module):
            part = chain[0]
            if isinstance(part, TrainedRows):
                _write(chain.original, part)
                parametrize.remove_parametrizations(module, name, leave_parametrized=False)


def _write(table: torch.Tensor, part: TrainedRows) -> None:
    """Put the rows into the table, which FSDP may have cut over the ranks; then all ranks come here."""
    if isinstance(table, DTensor):
        assert isinstance(part.rows, DTensor)
        whole = table.full_tensor().index_copy(0, part.places, part.rows.full_tensor())
        table.copy_(distribute_tensor(whole, table.device_mesh, table.placements))
    else:
        table[part.places] = part.rows


def _parametrizations(module: nn.Module) -> list[tuple[str, parametrize.ParametrizationList]]:
    if not parametrize.is_parametrized(module):
        return []
    held = module.parametrizations
    assert isinstance(held, nn.ModuleDict)
    return [(name, chain) for name, chain in held.items() if isinstance(chain, parametrize.ParametrizationList)]
