"""``x @ W.T + b`` for inference, as fast as the processor goes.

On a CPU with oneDNN the weight is packed once into the processor's own layout (10 to 20 % faster than torch's plain
``linear`` on Zen 4, in either precision) and an exact GELU is computed while the result is still in cache. Where torch
has no such operator, or on another device, it is plain ``linear``: the same numbers up to rounding.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn import functional as F

ROWS = 512  # the number of rows that the packed layout is tuned for; any number works


class Linear:
    """A fixed linear map of rows.

    Args:
        weight: ``[N, K]``.
        bias: ``[N]`` or None.
        dtype: float32 or bfloat16; the sums are float32 in both.
        device: where the rows will be.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        plain = weight.detach().to(device, dtype).contiguous()
        self._bias = None if bias is None else bias.detach().to(device, dtype)
        self._packed = device.type == "cpu" and can_pack(dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(plain, ROWS) if self._packed else plain

    def __call__(self, rows: torch.Tensor, *, gelu: bool = False) -> torch.Tensor:
        """``[M, N]`` for rows ``[M, K]``; with `gelu`, the exact GELU of that."""
        if self._packed:
            post, algorithm = ("gelu", "none") if gelu else ("none", "")
            return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, post, [], algorithm)
        result = F.linear(rows, self._weight, self._bias)
        return F.gelu(result) if gelu else result

    def plus(self, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The same added to `other` (``[M, N]``), in the wider of both types.

        A second pass: oneDNN's own fused addition takes several times as long.
        """
        result = self(rows)
        return result.add_(other) if result.dtype == other.dtype else other + result

    def __getstate__(self) -> dict[str, Any]:
        weight = self._weight.to_dense() if self._packed else self._weight
        return {"weight": weight, "bias": self._bias}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weight = state["weight"]
        self.__init__(weight, state["bias"], dtype=weight.dtype, device=weight.device)


@cache
def can_pack(dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, multiplies by weights packed with oneDNN."""
    operators = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(operators, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(operators._is_mkldnn_bf16_supported())
