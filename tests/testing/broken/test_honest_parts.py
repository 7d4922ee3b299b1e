"""The way in which laws are called here is right: for honest parts none of them says anything."""

import pytest

from stlm.interleave import WordSpans
from stlm.prepare import LocalRunner
from stlm.testing import fakes
from stlm.testing.factories import make_corpus

HONEST = [
    ("SpeechUnitEncoderContract", fakes.EnergyEncoder, fakes.EnergyEncoder.load),
    ("TextUnitEncoderContract", fakes.ByteText, fakes.ByteText.load),
    ("InterleaverContract", WordSpans, None),
    ("BackboneContract", lambda: fakes.TinyBackbone(12).eval(), fakes.TinyBackbone.load),
    ("VocoderContract", fakes.ToneVocoder, fakes.ToneVocoder.load),
    ("SourceContract", lambda: fakes.ListSource(make_corpus(4)), None),
    ("StageContract", fakes.UppercaseStage, None),
    ("RunnerContract", lambda: LocalRunner(num_workers=1), None),
    ("AlignerContract", fakes.EvenAligner, None),
    ("JudgeContract", fakes.EnergyJudge, None),
    ("ClassifierContract", fakes.LoudnessClassifier, None),
    ("F0ExtractorContract", fakes.AutocorrelationF0, None),
    ("TextNormalizerContract", fakes.LowercaseNormalizer, None),
    ("RecipeContract", fakes.CountRecipe, lambda place: (place / "count.json").read_text()),
]


@pytest.mark.parametrize(("contract", "part", "reload"), HONEST, ids=[case[0] for case in HONEST])
def test_an_honest_part_is_left_in_peace(contract, part, reload, breaks, laws_of) -> None:
    assert "caught" not in breaks(contract, part, laws_of(contract), reload).values()


def test_an_honest_task_keeps_what_does_not_need_mirrors(breaks, laws_of) -> None:
    found = breaks("EvalTaskContract", fakes.LongerText, laws_of("EvalTaskContract"))
    caught = {law for law, outcome in found.items() if outcome == "caught"}
    assert caught == {
        "a_scorer_blind_to_the_prompt_gets_exactly_chance",
        "groups_of_a_mirrored_task_show_every_answer",
    }
