"""Broken evaluation tasks and recipes, each caught by the law that it breaks."""

import itertools
import time
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file

from stlm.learn.training import TrainingOptions, train_module
from stlm.testing import fakes
from stlm.types import TextSpan

TICKS = itertools.count()


class Task(fakes.LongerText):
    """Honest, with one place to break it."""

    def change(self, item):
        return item

    def items(self):
        for item in super().items():
            yield self.change(item)


class AnswerOutOfRange(Task):
    def change(self, item):
        return replace(item, answer=2)


class EqualCandidates(Task):
    def change(self, item):
        return replace(item, candidates=(item.candidates[0], item.candidates[0]))


class RepeatedIds(Task):
    def change(self, item):
        return replace(item, id="same")


class ShufflesItself(Task):
    def items(self):
        found = list(super().items())
        start = next(TICKS) % len(found)
        yield from found[start:] + found[:start]


class NothingToScore(Task):
    def change(self, item):
        return replace(item, candidates=([TextSpan(text="")], item.candidates[1]))


class NotMirrored(Task):
    pass


class Recipe(fakes.CountRecipe):
    """Honest."""


class StampsTheTime(Recipe):
    def train(self, utterances, out):
        super().train(utterances, out)
        (out / "time.txt").write_text(str(time.perf_counter_ns()))


class WritesNothing(Recipe):
    def train(self, utterances, out):
        list(utterances)


class NeedsALength(Recipe):
    def train(self, utterances, out):
        assert len(utterances)
        super().train(utterances, out)


class WritesAPickle(Recipe):
    def train(self, utterances, out):
        super().train(utterances, out)
        (out / "model.pt").write_bytes(b"")


class Slope(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        return {"loss": (self.slope * batch - 1).square().sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class BeginsItsDataAnew(Recipe):
    def train(self, utterances, out):
        super().train(utterances, out)
        module, places = Slope(), itertools.count(1)
        options = TrainingOptions(max_steps=4, checkpoint_every=1, report_every=4, accelerator="cpu")
        train_module(module, lambda rng: torch.tensor([float(next(places))]), out, options, label="slope")
        save_file(module.state_dict(), out / "slope.safetensors")


class TrainsAnEncoder(Recipe):
    def train(self, utterances, out):
        fakes.EnergyEncoder().save(out)


class SavesNothing(fakes.EnergyEncoder):
    def save(self, directory):
        pass


TASK = [
    ("RecipeContract", Recipe, ("what_was_trained_loads",), lambda place: None),
    (
        "RecipeContract",
        Recipe,
        ("training_again_gives_the_same_part",),
        lambda place: fakes.EnergyEncoder(2 + next(TICKS)),
    ),
    ("RecipeContract", TrainsAnEncoder, ("what_was_trained_lives_without_its_directory",), SavesNothing.load),
    (
        "EvalTaskContract",
        AnswerOutOfRange,
        ("items_are_well_formed", "an_oracle_reaches_100_per_cent", "a_constant_scorer_gets_exactly_chance"),
    ),
    ("EvalTaskContract", EqualCandidates, ("candidates_differ",)),
    ("EvalTaskContract", RepeatedIds, ("items_are_well_formed",)),
    ("EvalTaskContract", ShufflesItself, ("items_come_in_a_fixed_order",)),
    ("EvalTaskContract", NothingToScore, ("a_model_can_score_it",)),
    (
        "EvalTaskContract",
        NotMirrored,
        ("a_scorer_blind_to_the_prompt_gets_exactly_chance", "groups_of_a_mirrored_task_show_every_answer"),
    ),
    ("RecipeContract", StampsTheTime, ("equal_data_give_equal_files",)),
    ("RecipeContract", BeginsItsDataAnew, ("an_interrupted_training_goes_on_to_the_same_weights",)),
    ("RecipeContract", WritesNothing, ("it_writes_files",)),
    ("RecipeContract", NeedsALength, ("it_reads_utterances_from_any_iterable",)),
    ("RecipeContract", WritesAPickle, ("nothing_that_it_writes_is_a_pickle",)),
]


@pytest.mark.parametrize("case", TASK, ids=lambda case: case[1].__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case, breaks) -> None:
    assert set(breaks(*case).values()) == {"caught"}


def test_every_law_is_broken_once(untested_laws) -> None:
    assert untested_laws(TASK) == []
