"""Laws of `BackboneLM` and `AdaptableBackbone`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from stlm.interfaces import AdaptableBackbone, BackboneLM, LoraOptions, PackedBatch
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.tiny_backbone import batch_of, packed_batch_of, vocabulary_size

Documents = list[list[int]]
UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


class BackboneContract(ComponentContract):
    """Subclass with a fixture ``backbone``: a small random model in fp32 and evaluation mode, of 12 ids or more.

    Set ``tolerance`` if 1e-5 is too strict. Optional: ``reload(directory)``. Tests that change it work on a copy.
    """

    kind: ClassVar[str] = "backbone"
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture
    def documents(self, backbone: BackboneLM) -> Documents:
        generator = torch.Generator().manual_seed(0)
        size = vocabulary_size(backbone)
        return [torch.randint(size, (length,), generator=generator).tolist() for length in (5, 1, 9, 3, 6, 2)]

    def reload(self, directory: Path) -> BackboneLM:
        pytest.skip("give reload(directory) to check that a saved backbone loads")

    def test_shapes_are_as_promised(self, backbone: BackboneLM, documents: Documents) -> None:
        batch = batch_of(documents)
        hidden = run(backbone, batch)
        assert hidden.shape[:2] == batch.ids.shape and hidden.ndim == 3
        logits = backbone.logits(hidden)
        assert logits.shape == (*batch.ids.shape, vocabulary_size(backbone))
        assert logits.is_floating_point()

    def test_packed_rows_equal_separate_documents(self, backbone: BackboneLM, documents: Documents) -> None:
        a, b, c, d, e, f = documents
        rows = [[a, b, c], [c, d], [e, f, a, b]]
        hidden = run(backbone, packed_batch_of(rows))
        for row, packed in enumerate(rows):
            start = 0
            for document in packed:
                end = start + len(document)
                self.close(hidden[row, start:end], alone(backbone, document))
                start = end

    def test_padding_changes_nothing(self, backbone: BackboneLM, documents: Documents) -> None:
        hidden = run(backbone, batch_of(documents))
        for row, document in enumerate(documents):
            self.close(hidden[row, : len(document)], alone(backbone, document))

    def test_what_stands_in_the_padding_changes_nothing(self, backbone: BackboneLM, documents: Documents) -> None:
        batch = batch_of(documents)
        other = replace(batch, ids=torch.where(batch.segments > 0, batch.ids, 1))
        valid = batch.segments > 0
        self.close(run(backbone, batch)[valid], run(backbone, other)[valid])

    def test_later_ids_change_nothing(self, backbone: BackboneLM, documents: Documents) -> None:
        document = documents[2]
        changed = [*document[:4], *((id + 1) % vocabulary_size(backbone) for id in document[4:])]
        self.close(alone(backbone, document)[:4], alone(backbone, changed)[:4])

    def test_earlier_ids_and_their_order_count(self, backbone: BackboneLM) -> None:
        last = [alone(backbone, document)[-1] for document in ([1, 2, 3, 4], [2, 1, 3, 4], [5, 2, 3, 4])]
        assert not torch.allclose(last[0], last[1], atol=1e-4) and not torch.allclose(last[0], last[2], atol=1e-4)

    @pytest.mark.parametrize("pieces", [(1, 1, 1, 1, 1, 1, 1, 1, 1), (4, 5), (6, 1, 2), (8, 1)])
    def test_pieces_through_the_cache_give_what_the_whole_gives(
        self, backbone: BackboneLM, documents: Documents, pieces: Sequence[int]
    ) -> None:
        """Ragged prompts padded on the left, as generation feeds them."""
        whole = batch_of(documents, pad_left=True)
        cache = backbone.new_cache()
        assert cache.length == 0
        found, start = [], 0
        for size in pieces:
            found.append(run(backbone, part(whole, start, start + size), cache))
            start += size
            assert cache.length == start
        hidden = torch.cat(found, dim=1)
        for row, document in enumerate(documents):
            self.close(hidden[row, -len(document) :], alone(backbone, document))

    def test_selected_rows_go_on_alone(self, backbone: BackboneLM, documents: Documents) -> None:
        """Rows are dropped, reordered and repeated in the cache; each goes on as if it were alone."""
        whole = batch_of(documents, pad_left=True)
        cache = backbone.new_cache()
        run(backbone, whole, cache)
        rows = torch.tensor([4, 0, 4, 2])
        cache.select(rows.to(device_of(backbone)))
        assert cache.length == whole.ids.shape[1]
        news = [7, 8, 9, 10]
        step = PackedBatch(
            ids=torch.tensor(news)[:, None],
            positions=torch.tensor([[len(documents[row])] for row in rows.tolist()]),
            segments=torch.ones(4, 1, dtype=torch.int64),
        )
        hidden = run(backbone, step, cache)
        for place, (row, new) in enumerate(zip(rows.tolist(), news, strict=True)):
            self.close(hidden[place, -1], alone(backbone, [*documents[row], new])[-1])

    def test_layers_are_given_where_asked_for(self, backbone: BackboneLM, documents: Documents) -> None:
        batch = batch_of(documents).to(device_of(backbone))
        with torch.no_grad():
            assert dict(backbone(batch).layers) == {}
            found = backbone(batch, layers=(0, 1))
        assert set(found.layers) == {0, 1}
        assert all(states.shape == found.last.shape for states in found.layers.values())
        self.close(found.last, run(backbone, batch))
        first = found.layers[0][batch.segments > 0], found.layers[1][batch.segments > 0]
        assert not torch.allclose(*first), "layer 1 must be the output of the first block, not its input"

    def test_it_is_deterministic(self, backbone: BackboneLM, documents: Documents) -> None:
        batch = batch_of(documents)
        assert torch.equal(run(backbone, batch), run(backbone, batch))

    def test_a_loss_reaches_the_weights(self, backbone: BackboneLM, documents: Documents) -> None:
        model = copy.deepcopy(backbone)
        batch = batch_of(documents).to(device_of(model))
        model.logits(model(batch).last)[batch.segments > 0].logsumexp(-1).sum().backward()
        without = [
            name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
        ]
        assert not without, f"{without} take no part in the loss"

    def test_extending_keeps_the_old_rows(self, backbone: BackboneLM, documents: Documents) -> None:
        size = vocabulary_size(backbone)
        batch = batch_of(documents)
        before = run(backbone, batch)
        model = copy.deepcopy(backbone)
        model.extend(size + 5, torch.Generator().manual_seed(3))
        assert vocabulary_size(model) == size + 5
        after = run(model, batch)
        self.close(after, before)
        self.close(model.logits(after)[..., :size], backbone.logits(before))

    def test_new_rows_are_random_by_the_generator(self, backbone: BackboneLM) -> None:
        size = vocabulary_size(backbone)
        found = []
        for seed in (3, 3, 4):
            model = copy.deepcopy(backbone)
            model.extend(size + 5, torch.Generator().manual_seed(seed))
            hidden = run(model, batch_of([[id] for id in range(size, size + 5)]))[:, 0]
            found.append((hidden, model.logits(run(model, batch_of([[1, 2]]))[:, -1])[..., size:]))
        for same, other in ((found[0][0], found[1][0]), (found[0][1], found[1][1])):
            assert torch.equal(same, other)
        assert not torch.allclose(found[0][0], found[2][0]) and not torch.allclose(found[0][1], found[2][1])
        assert not torch.allclose(found[0][0][0], found[0][0][1]), "new ids must not share one embedding"
        assert found[0][1].unique().numel() > 1, "new ids must not share one row of the head"

    def test_extending_to_the_present_size_changes_nothing(self, backbone: BackboneLM, documents: Documents) -> None:
        model = copy.deepcopy(backbone)
        model.extend(vocabulary_size(backbone), torch.Generator().manual_seed(3))
        before, after = run(backbone, batch_of(documents)), run(model, batch_of(documents))
        assert torch.equal(after, before) and torch.equal(model.logits(after), backbone.logits(before))

    def test_an_extended_model_still_learns(self, backbone: BackboneLM) -> None:
        model = copy.deepcopy(backbone)
        size = vocabulary_size(model)
        model.extend(size + 2, torch.Generator().manual_seed(0))
        logits = model.logits(model(batch_of([[size, size + 1]]).to(device_of(model))).last)
        logits.logsumexp(-1).sum().backward()
        assert any(parameter.grad is not None and parameter.shape[0] == size + 2 for parameter in model.parameters())

    def test_head_parameters_are_parameters(self, backbone: BackboneLM) -> None:
        own = {id(parameter) for parameter in backbone.parameters()}
        heads = [id(parameter) for parameter in backbone.head_parameters()]
        assert set(heads) <= own and len(set(heads)) == len(heads)

    def test_a_saved_backbone_loads_with_equal_states(
        self, backbone: BackboneLM, documents: Documents, tmp_path: Path
    ) -> None:
        backbone.save(tmp_path)
        again = self.reload(tmp_path).eval()
        assert torch.equal(run(again, batch_of(documents)), run(backbone, batch_of(documents)))
        assert vocabulary_size(again) == vocabulary_size(backbone)

    def test_weights_are_saved_as_safetensors(self, backbone: BackboneLM, tmp_path: Path) -> None:
        backbone.save(tmp_path)
        assert list(tmp_path.rglob("*.safetensors"))
        assert not [path.name for path in tmp_path.rglob("*") if path.suffix in UNSAFE]

    def close(self, got: torch.Tensor, expected: torch.Tensor, *, slack: float = 1.0) -> None:
        torch.testing.assert_close(got, expected, atol=self.tolerance * slack, rtol=0.0)


class AdaptableBackboneContract(BackboneContract):
    """Subclass with a fixture ``backbone`` as for `BackboneContract`, with LoRA."""

    options: ClassVar[LoraOptions] = LoraOptions(rank=2, alpha=4, trained_rows=(3, 7))

    @pytest.fixture
    def adapted(self, backbone: BackboneLM) -> AdaptableBackbone:
        assert isinstance(backbone, AdaptableBackbone)
        model = copy.deepcopy(backbone)
        model.add_lora(self.options)
        return model.eval()

    def test_a_fresh_adapter_changes_nothing(
        self, backbone: BackboneLM, adapted: AdaptableBackbone, documents: Documents
    ) -> None:
        batch = batch_of(documents)
        self.close(run(adapted, batch), run(backbone, batch))
        self.close(adapted.logits(run(adapted, batch)), backbone.logits(run(backbone, batch)))

    def test_only_adapter_and_named_rows_learn(
        self, backbone: BackboneLM, adapted: AdaptableBackbone, documents: Documents
    ) -> None:
        """After some steps the named rows of embedding and head have moved, and no other row has."""
        total = sum(parameter.numel() for parameter in backbone.parameters())
        learning = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
        assert 0 < learning < total
        learn(adapted, documents)
        assert adapted.has_adapter
        adapted.merge_lora()
        assert not adapted.has_adapter
        for got, old in zip(adapted.head_parameters(), backbone.head_parameters(), strict=True):
            moved = (got != old).any(dim=1).nonzero().flatten().tolist()
            assert moved == list(self.options.trained_rows)

    def test_rows_stay_where_none_is_named(self, backbone: BackboneLM, documents: Documents) -> None:
        model = copy.deepcopy(backbone)
        assert isinstance(model, AdaptableBackbone)
        model.add_lora(LoraOptions(rank=2, alpha=4))
        learn(model, documents)
        changed = run(model.eval(), batch_of(documents))
        assert not torch.allclose(changed, run(backbone, batch_of(documents)), atol=1e-4), (
            "the adapter has learnt nothing"
        )
        model.merge_lora()
        for got, old in zip(model.head_parameters(), backbone.head_parameters(), strict=True):
            assert torch.equal(got, old)

    def test_merging_changes_nothing(self, adapted: AdaptableBackbone, documents: Documents) -> None:
        learn(adapted, documents)
        batch = batch_of(documents)
        before = run(adapted, batch)
        logits = adapted.logits(before)
        adapted.merge_lora()
        self.close(run(adapted, batch), before, slack=10)
        self.close(adapted.logits(run(adapted, batch)), logits, slack=10)
        again = run(adapted, batch)
        adapted.merge_lora()
        assert torch.equal(run(adapted, batch), again), "merging without an adapter must do nothing"

    def test_an_adapted_model_saves_what_it_computes(
        self, adapted: AdaptableBackbone, documents: Documents, tmp_path: Path
    ) -> None:
        learn(adapted, documents)
        batch = batch_of(documents)
        before = run(adapted, batch)
        logits = adapted.logits(before)
        adapted.save(tmp_path)
        again = self.reload(tmp_path).eval()
        self.close(run(again, batch), before, slack=10)
        self.close(again.logits(run(again, batch)), logits, slack=10)

    def test_packing_and_cache_work_with_an_adapter(self, adapted: AdaptableBackbone, documents: Documents) -> None:
        learn(adapted, documents)
        first, second = documents[0], documents[2]
        packed = run(adapted, packed_batch_of([[first, second]]))[0]
        self.close(packed[len(first) :], alone(adapted, second))
        cache = adapted.new_cache()
        whole = batch_of([second])
        pieces = [run(adapted, part(whole, 0, 4), cache), run(adapted, part(whole, 4, 9), cache)]
        self.close(torch.cat(pieces, dim=1)[0], alone(adapted, second))

    def test_the_adapter_alone_is_small_and_safe(self, adapted: AdaptableBackbone, tmp_path: Path) -> None:
        adapted.save_lora(tmp_path)
        assert list(tmp_path.rglob("*.safetensors"))
        assert not [path.name for path in tmp_path.rglob("*") if path.suffix in UNSAFE]


def run(backbone: BackboneLM, batch: PackedBatch, cache: object = None) -> torch.Tensor:
    with torch.no_grad():
        return backbone(batch.to(device_of(backbone)), cache=cache).last


def alone(backbone: BackboneLM, document: Sequence[int]) -> torch.Tensor:
    """``float[S, D]`` hidden states of one document by itself."""
    return run(backbone, batch_of([document]))[0]


def part(batch: PackedBatch, start: int, end: int) -> PackedBatch:
    """Columns ``start:end`` of a batch."""
    return PackedBatch(
        ids=batch.ids[:, start:end], positions=batch.positions[:, start:end], segments=batch.segments[:, start:end]
    )


def learn(model: BackboneLM, documents: Documents, steps: int = 3) -> None:
    """A few large steps on all parameters that require gradients."""
    batch = batch_of(documents).to(device_of(model))
    assert batch.labels is not None
    model.train()
    optimizer = torch.optim.SGD([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1.0)
    for _ in range(steps):
        logits = model.logits(model(batch).last)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def device_of(backbone: BackboneLM) -> torch.device:
    return next(backbone.parameters()).device
