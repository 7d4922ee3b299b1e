"""Hidden states of HuBERT and wav2vec2, for many sounds at once: exact, and several times as fast as a plain pass.

Waves in, ``float32[T, D]`` out for each. What a sound gives depends on that sound alone: norms over time see its own
samples only, and the rows of all sounds of a batch lie one after another without padding, so products run over all
of them at once and attention over each by itself. Layers above the one asked for are never run.

HuBERT base at 25 Hz, up to layer 11, costs 9.3 GFLOP per second of sound, 8.3 as computed here in float32
(`speech_frontend`, `position_convolution`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stlm.errors import ConfigError, did_you_mean
from stlm.learn.linear import Linear
from stlm.learn.position_convolution import PositionConvolution
from stlm.learn.speech_frontend import SpeechFrontEnd

Precision = Literal["fp32", "bf16", "bf16-fast"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "bf16-fast": torch.bfloat16}
ROUNDED_STRIDE = {"fp32": 1, "bf16": 10, "bf16-fast": 80}
"""Samples a row up to which convolutions are of that precision; the front-end brings in most of the rounding error."""
KINDS = ("hubert", "wav2vec2")
BATCH_SECONDS = {"cpu": 30.0, "cuda": 600.0}
SAMPLE_RATE = 16000
LONGEST_PRODUCT = 1024  # frames; up to here the plain products of attention beat the fused kernel in bf16 on a CPU


class SpeechTransformer:
    """A fast forward pass over a trained model.

    Args:
        model: a Hugging Face ``HubertModel`` or ``Wav2Vec2Model``; its weights are copied, it may be dropped.
        layer: k gives ``hidden_states[k]``, 1 is the first layer's output; None, or as many as there are or more, the
            last output.
        precision: of products and what goes into them; sums, norms and the rows from layer to layer are float32.
            "bf16" rounds the transformer and the widest convolution, "bf16-fast" all convolutions that cost much.
        device: where to compute.
        normalize: bring each wave to mean 0 and variance 1 over its whole length before.
        eps: added to that variance (1e-7 in Hugging Face's feature extractor, whose models expect this).

    Raises:
        ConfigError: the model has parts that are not known here, the layer or the precision does not exist.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layer: int | None = None,
        precision: Precision = "fp32",
        device: str | torch.device = "cpu",
        normalize: bool = False,
        eps: float = 1e-7,
    ) -> None:
        config: Any = model.config
        check_supported(config)
        if layer is not None and layer < 1:
            raise ConfigError(f"layer must be 1 (the first layer's output) or more, got {layer}")
        if precision not in DTYPES:
            raise ConfigError(
                f"precision must be one of {', '.join(DTYPES)}, got {precision!r}{did_you_mean(precision, DTYPES)}"
            )
        self._device, self._dtype = torch.device(device), DTYPES[precision]
        self._normalize, self._eps = normalize, eps
        parts: Any = model
        encoder = parts.encoder
        self._front_end = SpeechFrontEnd(
            parts.feature_extractor.conv_layers,
            dtype=self._dtype,
            device=self._device,
            rounded_stride=ROUNDED_STRIDE[precision],
        )
        projection = parts.feature_projection
        self._feature_norm = self._norm(getattr(projection, "layer_norm", None))
        weight, bias = projection.projection.weight, projection.projection.bias
        self._projection = Linear(weight, bias, dtype=torch.float32, device=self._device)
        self._position = PositionConvolution(encoder.pos_conv_embed.conv, self._device)
        self._position_activation: Callable[..., torch.Tensor] = encoder.pos_conv_embed.activation
        last = layer is None or layer >= len(encoder.layers)
        self._layers = [_Layer(item, config, self._dtype, self._device) for item in encoder.layers[:layer]]
        stable = bool(config.do_stable_layer_norm)
        self._norm_before = None if stable else self._norm(encoder.layer_norm)
        self._norm_after = self._norm(encoder.layer_norm) if stable and last else None
        self.num_dimensions: int = config.hidden_size

    @property
    def hop(self) -> int:
        """Samples between two frames."""
        return self._front_end.hop

    @property
    def window(self) -> int:
        """Samples that the first frame needs."""
        return self._front_end.window

    def num_frames(self, num_samples: int) -> int:
        """Frames that a wave of so many samples gives; 0 where it is shorter than `window`."""
        return self._front_end.num_frames(num_samples)

    @torch.inference_mode()
    def hidden(self, waves: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """``float32[T, D]`` on the device for each wave ``float32[N]``, in order."""
        results = [torch.zeros(0, self.num_dimensions, device=self._device) for _ in waves]
        for chosen in self._batches([self.num_frames(len(wave)) for wave in waves]):
            for place, rows in zip(chosen, self._forward([waves[index] for index in chosen]), strict=True):
                results[place] = rows
        return results

    def _batches(self, frames: Sequence[int]) -> list[list[int]]:
        """Places of waves that are computed together, of about one length, those without a frame left out."""
        seconds = BATCH_SECONDS["cpu" if self._device.type == "cpu" else "cuda"]
        limit = math.ceil(seconds * SAMPLE_RATE / self.hop)
        batches: list[list[int]] = []
        for place in sorted((place for place, T in enumerate(frames) if T), key=lambda place: (frames[place], place)):
            if not batches or frames[place] * (len(batches[-1]) + 1) > limit:
                batches.append([])
            batches[-1].append(place)
        return batches

    def _forward(self, waves: Sequence[np.ndarray]) -> Sequence[torch.Tensor]:
        features = [self._front_end(self._wave(wave)) for wave in waves]
        lengths = [len(rows) for rows in features]
        rows = torch.cat(features) if len(features) > 1 else features[0]
        if self._feature_norm:
            rows = self._feature_norm(rows)
        rows = self._projection(rows)
        rows = rows + self._position_activation(self._position(rows, lengths))
        if self._norm_before:
            rows = self._norm_before(rows)
        attend = Attention(lengths, self._device)
        for layer in self._layers:
            rows = layer(rows, attend)
        if self._norm_after:
            rows = self._norm_after(rows)
        return rows.split(lengths)

    def _wave(self, samples: np.ndarray) -> torch.Tensor:
        if self._normalize:
            mean, variance = samples.mean(dtype=np.float64), samples.var(dtype=np.float64)
            samples = (samples - mean) / np.sqrt(variance + self._eps)
        return torch.tensor(samples, dtype=torch.float32, device=self._device)

    def _norm(self, module: nn.LayerNorm | None) -> _Norm | None:
        return None if module is None else _Norm(module, self._device)


def check_supported(config: Any) -> None:
    """Raise ConfigError where a model has parts that `SpeechTransformer` does not compute."""
    kind = config.model_type
    if kind not in KINDS:
        raise ConfigError(
            f"model_type is {kind!r}, expected one of {', '.join(KINDS)}{did_you_mean(str(kind), KINDS)}: "
            "other architectures need an encoder of their own"
        )
    for option in ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm"):
        if getattr(config, option, None):
            raise ConfigError(
                f"the model has {option}={getattr(config, option)!r}, which is not supported, expected none"
            )


class _Norm:
    """A layer norm of float32 rows."""

    def __init__(self, module: nn.LayerNorm, device: torch.device) -> None:
        self._weight, self._bias = (tensor.detach().float().to(device) for tensor in (module.weight, module.bias))
        self._eps = module.eps

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(rows, rows.shape[1:], self._weight, self._bias, self._eps)


class _Layer:
    """Attention and feed-forward; norms after each (base models) or before each (``do_stable_layer_norm``).

    Rows from layer to layer, and norms, are float32; products and what they take are of `dtype`.
    """

    def __init__(self, module: Any, config: Any, dtype: torch.dtype, device: torch.device) -> None:
        attention, feed_forward = module.attention, module.feed_forward
        self._heads, self._dtype = config.num_attention_heads, dtype
        scale = attention.head_dim**-0.5
        parts = [attention.q_proj, attention.k_proj, attention.v_proj]
        weights = [part.weight.detach().float() for part in parts]
        biases = [part.bias.detach().float() for part in parts]
        weights[0], biases[0] = weights[0] * scale, biases[0] * scale
        self._qkv = Linear(torch.cat(weights), torch.cat(biases), dtype=dtype, device=device)
        self._out, self._up, self._down = (
            Linear(part.weight, part.bias, dtype=dtype, device=device)
            for part in (attention.out_proj, feed_forward.intermediate_dense, feed_forward.output_dense)
        )
        self._activation = feed_forward.intermediate_act_fn
        self._gelu = config.hidden_act == "gelu"
        self._norm, self._final_norm = (_Norm(part, device) for part in (module.layer_norm, module.final_layer_norm))
        self._stable = bool(config.do_stable_layer_norm)

    def __call__(self, rows: torch.Tensor, attend: Attention) -> torch.Tensor:
        if self._stable:
            rows = self._attended(self._norm(rows), rows, attend)
            return self._fed(self._final_norm(rows), rows)
        rows = self._norm(self._attended(rows, rows, attend))
        return self._final_norm(self._fed(rows, rows))

    def _attended(self, rows: torch.Tensor, residual: torch.Tensor, attend: Attention) -> torch.Tensor:
        qkv = self._qkv(rows.to(self._dtype)).view(len(rows), 3, self._heads, -1)
        return self._out.plus(attend(qkv), residual)

    def _fed(self, rows: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        rows = rows.to(self._dtype)
        inner = self._up(rows, gelu=True) if self._gelu else self._activation(self._up(rows))
        return self._down.plus(inner, residual)


class Attention:
    """Softmax attention within each of some pieces whose rows lie one after another; queries come scaled.

    On a CPU piece by piece, which costs nothing for padding; on a GPU in one padded and masked call.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device, *, padded: bool | None = None) -> None:
        self._lengths = list(lengths)
        self._padded = device.type != "cpu" if padded is None else padded
        if self._padded:
            longest = max(self._lengths)
            inside = torch.arange(longest)[None] < torch.tensor(self._lengths)[:, None]  # [B, T]
            self._inside = inside.to(device)
            self._mask = None if bool(inside.all()) else self._inside[:, None, None]

    def __call__(self, qkv: torch.Tensor) -> torch.Tensor:
        """``[sum T, D]`` for queries, keys and values ``[sum T, 3, heads, D / heads]``."""
        return self._together(qkv) if self._padded else self._each(qkv)

    def _each(self, qkv: torch.Tensor) -> torch.Tensor:
        pieces = [_attend(piece.permute(1, 2, 0, 3)) for piece in qkv.split(self._lengths)]
        return torch.cat(pieces) if len(pieces) > 1 else pieces[0]

    def _together(self, qkv: torch.Tensor) -> torch.Tensor:
        spread = qkv.new_zeros(*self._inside.shape, *qkv.shape[1:])  # [B, T, 3, heads, D / heads]
        spread[self._inside] = qkv
        q, k, v = spread.permute(2, 0, 3, 1, 4)
        result = F.scaled_dot_product_attention(q, k, v, attn_mask=self._mask, scale=1.0)
        return result.transpose(1, 2)[self._inside].flatten(1)


def _attend(qkv: torch.Tensor) -> torch.Tensor:
    """``[T, D]`` for one piece's ``[3, heads, T, D / heads]``."""
    if qkv.dtype == torch.bfloat16 and qkv.shape[2] <= LONGEST_PRODUCT:
        q, k, v = qkv.contiguous()
        result = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
    else:
        q, k, v = qkv[:, None]
        result = F.scaled_dot_product_attention(q, k, v, scale=1.0)[0]
    return result.transpose(0, 1).flatten(1)
