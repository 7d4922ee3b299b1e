"""Laws of `Recipe`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from stlm.interfaces import Recipe, UnitEncoder
from stlm.learn import training
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import make_corpus
from stlm.types import Utterance

UNSAFE = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt")
COURSE = ("tensorboard", "logs", "checkpoints")
"""Folders that `stlm.learn.training` leaves beside the part: they hold times, and the core removes the last."""


class RecipeContract(ComponentContract):
    """Subclass with a fixture ``recipe`` that trains in seconds.

    Optional: a fixture ``utterances`` with data that it can learn from; ``build_trained(path)``, which makes the
    component that the recipe is for, as its factory would.
    """

    kind: ClassVar[str] = "recipe"

    @pytest.fixture
    def utterances(self) -> list[Utterance]:
        return make_corpus(6, seed=7)

    def build_trained(self, path: Path) -> Any:
        pytest.skip("give build_trained(path) to check that what was trained loads")

    @pytest.fixture
    def trained(self, recipe: Recipe, utterances: list[Utterance], tmp_path: Path) -> Path:
        return train(recipe, utterances, tmp_path / "trained")

    def test_it_writes_files(self, trained: Path) -> None:
        assert contents(trained)

    def test_equal_data_give_equal_files(
        self, recipe: Recipe, utterances: list[Utterance], trained: Path, tmp_path: Path
    ) -> None:
        assert contents(train(recipe, utterances, tmp_path / "again")) == contents(trained)

    def test_it_reads_utterances_from_any_iterable(
        self, recipe: Recipe, utterances: list[Utterance], trained: Path, tmp_path: Path
    ) -> None:
        class Reads:
            """Like the core's: no length, no index, readable more than once."""

            def __iter__(self) -> Any:
                return iter(utterances)

        out = tmp_path / "streamed"
        out.mkdir()
        recipe.train(Reads(), out)
        assert contents(out) == contents(trained)

    def test_an_interrupted_training_goes_on_to_the_same_weights(
        self,
        recipe: Recipe,
        utterances: list[Utterance],
        trained: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """For recipes that train by `stlm.learn.training`: broken off in the middle, and begun again."""
        steps = Steps(monkeypatch)
        train(recipe, utterances, tmp_path / "counted")
        if steps.count < 2:
            pytest.skip("this recipe does not train in steps")
        broken = tmp_path / "broken"
        steps.stop_at(steps.count // 2 + 1)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train(recipe, utterances, broken)
        monkeypatch.undo()
        recipe.train(utterances, broken)
        weights = [name for name in contents(trained) if name.endswith(".safetensors")]
        assert weights, "no weights in safetensors files, expected some to compare"
        different = [name for name in weights if contents(broken).get(name) != contents(trained)[name]]
        assert not different, f"{different}: what a batch or a step draws must depend on the seed and the step alone"

    def test_nothing_that_it_writes_is_a_pickle(self, trained: Path) -> None:
        found = [name for name in contents(trained) if name.endswith(UNSAFE)]
        assert not found, f"{found}: loading them would run code; write safetensors or JSON"

    def test_what_was_trained_loads(self, trained: Path) -> None:
        assert self.build_trained(trained) is not None

    def test_training_again_gives_the_same_part(
        self, recipe: Recipe, utterances: list[Utterance], trained: Path, tmp_path: Path
    ) -> None:
        one = self.build_trained(trained)
        two = self.build_trained(train(recipe, utterances, tmp_path / "again"))
        if isinstance(one, UnitEncoder):
            assert one.fingerprint == two.fingerprint

    def test_what_was_trained_lives_without_its_directory(self, recipe: Recipe, trained: Path, tmp_path: Path) -> None:
        """Saved into a run directory, the part needs nothing of the one it was trained in."""
        part = self.build_trained(trained)
        if not hasattr(part, "save"):
            pytest.skip("what the recipe makes is not saved into run directories")
        saved = tmp_path / "saved"
        saved.mkdir()
        part.save(saved)
        trained.rename(tmp_path / "moved")
        assert self.build_trained(saved) is not None


class Steps:
    """Counts the steps of trainings, and breaks one off."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self._last = 0, 0
        begin = training.Course.on_train_batch_start

        def counted(course: training.Course, *given: Any) -> None:
            self.count += 1
            if self.count == self._last:
                raise KeyboardInterrupt
            begin(course, *given)

        monkeypatch.setattr(training.Course, "on_train_batch_start", counted)

    def stop_at(self, step: int) -> None:
        """Break off the next training before this step of it, counted from 1."""
        self.count, self._last = 0, step


def train(recipe: Recipe, utterances: list[Utterance], out: Path) -> Path:
    out.mkdir(parents=True)
    recipe.train(utterances, out)
    return out


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of the part in a directory, and not those of the course of its training."""
    files = {path.relative_to(directory): path for path in directory.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in files.items() if name.parts[0] not in COURSE}
