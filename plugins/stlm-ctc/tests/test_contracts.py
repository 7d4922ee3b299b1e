"""The laws that stlm asks of every recipe, judge and aligner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stlm.testing.contracts import AlignerContract, JudgeContract, RecipeContract
from stlm.types import Audio, Utterance
from stlm_ctc import judge
from stlm_ctc.aligner import CtcAligner
from stlm_ctc.judge import CtcJudge
from stlm_ctc.recipe import Config, CtcRecipe
from stlm_ctc.recogniser import Recogniser

Sing = Callable[..., Utterance]
Songs = Callable[..., list[Utterance]]


class TestCtcRecipe(RecipeContract):
    component = "ctc"

    @pytest.fixture
    def recipe(self, tiny: dict[str, Any]) -> CtcRecipe:
        return CtcRecipe(Config(**{**tiny, "max_steps": 4, "checkpoint_every": 1, "dropout": 0.2}))

    @pytest.fixture
    def utterances(self, songs: Songs) -> list[Utterance]:
        return songs(8)

    def build_trained(self, path: Path) -> CtcJudge:
        return judge.build(judge.Config(path=str(path)))


class TestCtcJudge(JudgeContract):
    component = "ctc"

    @pytest.fixture
    def judge(self, recogniser: Recogniser) -> CtcJudge:
        return CtcJudge(recogniser)


class TestCtcJudgeOnSpeech(TestCtcJudge):
    @pytest.fixture
    def sounds(self, sing: Sing) -> list[Audio]:
        return [sing(text).audio for text in ("abc", "a bad cab", "dad dab", "c")]


class TestCtcAligner(AlignerContract):
    component = "ctc"

    @pytest.fixture
    def aligner(self, recogniser: Recogniser) -> CtcAligner:
        return CtcAligner(recogniser)

    @pytest.fixture
    def spoken(self, sing: Sing) -> tuple[Audio, str]:
        text = "Bad, 42; cab - A dab!"
        return sing(text).audio, text
