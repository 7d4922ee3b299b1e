"""What a step costs: by hand, and as torch counts it while it computes one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stlm.interfaces.backbone import AdaptableBackbone, LoraOptions
from stlm.lightning.loss import token_losses
from stlm.lightning.rows import split_rows
from stlm.lightning.throughput import StepCost, attention_pairs, peak_of, step_cost
from stlm.plugin import default_registry
from stlm.testing.tiny_backbone import packed_batch_of

WIDTH, INNER, LAYERS, VOCABULARY = 32, 48, 2, 80
LAYER = 4 * WIDTH * WIDTH + 3 * WIDTH * INNER
"""Weights of a layer's matrices: queries, keys, values and output, and the three of its perceptron."""
N = LAYERS * LAYER + VOCABULARY * WIDTH
DOCUMENTS = [[list(range(70)), list(range(50))], [list(range(80)), list(range(40))]]


def llama(**more: Any) -> AdaptableBackbone:
    size = {"hidden_size": WIDTH, "num_layers": LAYERS, "num_heads": 2, "intermediate_size": INNER}
    built = default_registry().build(
        "backbone", "llama", {"vocab_size": VOCABULARY, "max_positions": 128, **size, **more}
    )
    assert isinstance(built, AdaptableBackbone)
    return built


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_that_is_trained_whole(tied: bool) -> None:
    assert step_cost(llama(tie_embeddings=tied)) == StepCost(N, N, LAYERS, WIDTH)
    assert StepCost(N, N, LAYERS, WIDTH).of(100, 0) == 6 * N * 100
    assert StepCost(N, N, LAYERS, WIDTH).of(0, 10) == 12 * WIDTH * LAYERS * 10


@pytest.mark.parametrize("tied", [True, False])
def test_adapters_cost_no_gradients_of_frozen_weights(tied: bool) -> None:
    model, rank = llama(tie_embeddings=tied), 4
    model.add_lora(LoraOptions(rank=rank))
    adapters = LAYERS * rank * (4 * (WIDTH + WIDTH) + 3 * (WIDTH + INNER))
    cost = step_cost(model)
    assert cost == StepCost(N + adapters, adapters, LAYERS, WIDTH)
    assert cost.of(10, 0) == 10 * (4 * (N + adapters) + 2 * adapters)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("beside", ["adapters", "nothing"])
def test_rows_that_are_trained_alone_leave_the_head_counted_once(tied: bool, beside: str) -> None:
    model, rows = llama(tie_embeddings=tied), (1, 2, 3)
    adapters = 0
    if beside == "adapters":
        model.add_lora(LoraOptions(rank=1, modules=("q_proj",), trained_rows=rows))
        adapters = LAYERS * 2 * WIDTH
    else:
        split_rows(model, rows)
    cost = step_cost(model)
    tables = len(rows) * WIDTH * (1 if tied else 2)
    assert N + adapters <= cost.weights <= N + adapters + tables
    assert cost.width == WIDTH


def test_pairs_of_positions_by_hand() -> None:
    batch = packed_batch_of([[[1, 2, 3], [4, 5]], [[6]]])
    assert int(attention_pairs(batch)) == (1 + 2 + 3) + (1 + 2) + 1


def test_a_processor_has_no_peak() -> None:
    assert peak_of(torch.device("cpu")) is None


@pytest.mark.parametrize(("name", "peak"), [("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("T4", None)])
def test_the_peak_of_a_card_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_of(torch.device("cuda")) == peak


def product_in_place(_: Sequence[int], left: Sequence[int], right: Sequence[int], **__: Any) -> int:
    """Operations of a product that is added to a tensor; torch counts it only where it is not in place."""
    return 2 * math.prod(left) * right[-1]


@pytest.mark.parametrize("tied", [True, False])
def test_the_cost_is_what_torch_counts(tied: bool) -> None:
    """On a processor documents of at most 128 ids are computed as whole squares, which counts n * n pairs."""
    model, batch = llama(tie_embeddings=tied), packed_batch_of(DOCUMENTS)
    assert batch.labels is not None
    in_place = {torch.ops.aten.baddbmm_: product_in_place}
    cost, counter = step_cost(model), FlopCounterMode(display=False, custom_mapping=in_place)
    with counter:
        losses, _ = token_losses(model, model(batch).last, batch.labels)
        losses.sum().backward()
    squares = sum(len(document) ** 2 for row in DOCUMENTS for document in row)
    assert counter.get_total_flops() == pytest.approx(cost.of(batch.num_tokens, squares), rel=0.03)
