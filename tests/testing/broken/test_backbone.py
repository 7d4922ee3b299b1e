"""Broken backbones, each caught by the law that it breaks."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from stlm.interfaces import Hidden
from stlm.testing import fakes


class Backbone(fakes.TinyBackbone):
    """Honest, with one place to break it."""

    def __init__(self, vocab_size: int = 12, **options: Any) -> None:
        super().__init__(vocab_size, **options)
        self.eval()

    def forward(self, batch, cache=None, layers=()):
        return super().forward(self.before(batch), cache, layers)

    def before(self, batch):
        return batch


class LeaksAcrossDocuments(Backbone):
    def before(self, batch):
        return replace(batch, segments=(batch.segments > 0).long())


class SeesPadding(Backbone):
    def before(self, batch):
        return replace(batch, segments=torch.ones_like(batch.segments))


class IgnoresPositions(Backbone):
    def before(self, batch):
        return replace(batch, positions=torch.arange(batch.ids.shape[1]).expand_as(batch.ids))


class ForgetsOrder(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return Hidden(last=self.norm(self.embedding(batch.ids)), layers={})


class LooksAhead(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        ahead = torch.cat([hidden.last[:, 1:], hidden.last[:, -1:]], dim=1)
        return Hidden(last=hidden.last + ahead, layers=hidden.layers)


class DropsOut(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        return Hidden(last=torch.nn.functional.dropout(hidden.last), layers=hidden.layers)


class StaysInOrder(fakes.TinyCache):
    def select(self, rows):
        super().select(torch.arange(len(rows)))


class IgnoresSelection(Backbone):
    def new_cache(self):
        return StaysInOrder()


class ForgetsItsPast(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return super().forward(batch, None if cache is None else self.new_cache(), layers)


class ReturnsAllLayers(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return super().forward(batch, cache, (0, 1, 2))


class RedrawsOldRows(Backbone):
    def extend(self, vocab_size, generator):
        super().extend(vocab_size, generator)
        torch.nn.init.normal_(self.head.weight, generator=generator)


class ExtendsWithZeros(Backbone):
    def extend(self, vocab_size, generator):
        old = self.embedding.num_embeddings
        super().extend(vocab_size, generator)
        with torch.no_grad():
            self.embedding.weight[old:] = 0
            self.head.weight[old:] = 0


class ExtendsFrozen(Backbone):
    def extend(self, vocab_size, generator):
        super().extend(vocab_size, generator)
        self.requires_grad_(False)
        self.norm.requires_grad_(True)


class PicklesItsWeights(Backbone):
    def save(self, directory):
        torch.save(self.state_dict(), directory / "model.pt")


class HasAnIdleWeight(Backbone):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.idle = torch.nn.Parameter(torch.zeros(3))


class ForeignHead(Backbone):
    def head_parameters(self):
        return [torch.nn.Parameter(torch.zeros(3))]


class FlatHidden(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        return Hidden(last=hidden.last.flatten(0, 1), layers=hidden.layers)


BACKBONE = [
    ("BackboneContract", LeaksAcrossDocuments, ("packed_rows_equal_separate_documents",)),
    (
        "BackboneContract",
        SeesPadding,
        ("pieces_through_the_cache_give_what_the_whole_gives", "selected_rows_go_on_alone"),
    ),
    ("BackboneContract", IgnoresPositions, ("packed_rows_equal_separate_documents", "selected_rows_go_on_alone")),
    ("BackboneContract", ForgetsOrder, ("earlier_ids_and_their_order_count",)),
    (
        "BackboneContract",
        LooksAhead,
        ("later_ids_change_nothing", "padding_changes_nothing", "what_stands_in_the_padding_changes_nothing"),
    ),
    ("BackboneContract", DropsOut, ("it_is_deterministic",)),
    ("BackboneContract", IgnoresSelection, ("selected_rows_go_on_alone",)),
    ("BackboneContract", ForgetsItsPast, ("pieces_through_the_cache_give_what_the_whole_gives",)),
    ("BackboneContract", ReturnsAllLayers, ("layers_are_given_where_asked_for",)),
    (
        "BackboneContract",
        RedrawsOldRows,
        ("extending_keeps_the_old_rows", "extending_to_the_present_size_changes_nothing"),
    ),
    ("BackboneContract", ExtendsWithZeros, ("new_rows_are_random_by_the_generator",)),
    ("BackboneContract", ExtendsFrozen, ("an_extended_model_still_learns",)),
    ("BackboneContract", PicklesItsWeights, ("weights_are_saved_as_safetensors",)),
    ("BackboneContract", HasAnIdleWeight, ("a_loss_reaches_the_weights",)),
    ("BackboneContract", ForeignHead, ("head_parameters_are_parameters",)),
    ("BackboneContract", FlatHidden, ("shapes_are_as_promised",)),
    (
        "BackboneContract",
        Backbone,
        ("a_saved_backbone_loads_with_equal_states",),
        lambda directory: Backbone(seed=9),
    ),
]


@pytest.mark.parametrize("case", BACKBONE, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(BACKBONE) == []
