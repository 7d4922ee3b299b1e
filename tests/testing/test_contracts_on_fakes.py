"""Every contract holds for the fake of its interface: the laws can be kept, and the fakes keep them."""

from pathlib import Path

import pytest

from stlm.interleave import Unimodal
from stlm.prepare import LocalRunner
from stlm.testing.contracts import (
    AlignerContract,
    BackboneContract,
    ClassifierContract,
    EvalTaskContract,
    F0ExtractorContract,
    InterleaverContract,
    JudgeContract,
    RecipeContract,
    RunnerContract,
    SourceContract,
    SpeechUnitEncoderContract,
    StageContract,
    TextNormalizerContract,
    TextUnitEncoderContract,
    VocoderContract,
)
from stlm.testing.factories import make_corpus
from stlm.testing.fakes import (
    AutocorrelationF0,
    ByteText,
    CountRecipe,
    EnergyEncoder,
    EnergyJudge,
    EvenAligner,
    ListSource,
    LongerText,
    LoudnessClassifier,
    LowercaseNormalizer,
    TinyBackbone,
    ToneVocoder,
    UppercaseStage,
)
from stlm.types import Rejected


class TestEnergyEncoder(SpeechUnitEncoderContract):
    @pytest.fixture
    def encoder(self):
        return EnergyEncoder(levels=5)

    def reload(self, directory):
        return EnergyEncoder.load(directory)


class TestByteText(TextUnitEncoderContract):
    @pytest.fixture
    def encoder(self):
        return ByteText()

    def reload(self, directory):
        return ByteText.load(directory)


class TestUnimodal(InterleaverContract):
    @pytest.fixture
    def interleaver(self):
        return Unimodal(modality="text")


class TestTinyBackbone(BackboneContract):
    tolerance = 2e-6

    @pytest.fixture
    def backbone(self):
        return TinyBackbone(12, seed=1).eval()

    def reload(self, directory):
        return TinyBackbone.load(directory)


class TestToneVocoder(VocoderContract):
    @pytest.fixture
    def vocoder(self):
        return ToneVocoder()

    def reload(self, directory):
        return ToneVocoder.load(directory)


class TestListSource(SourceContract):
    @pytest.fixture
    def source(self):
        return ListSource([*make_corpus(5), Rejected(id="bad", reason="broken")])


class TestUppercaseStage(StageContract):
    @pytest.fixture
    def stage(self):
        return UppercaseStage()


class TestLocalRunnerInThisProcess(RunnerContract):
    component = "local"

    @pytest.fixture
    def runner(self):
        return LocalRunner(num_workers=1)


class TestEvenAligner(AlignerContract):
    @pytest.fixture
    def aligner(self):
        return EvenAligner()


class TestEnergyJudge(JudgeContract):
    @pytest.fixture
    def judge(self):
        return EnergyJudge()


class TestLoudnessClassifier(ClassifierContract):
    @pytest.fixture
    def classifier(self):
        return LoudnessClassifier()


class TestAutocorrelationF0(F0ExtractorContract):
    @pytest.fixture
    def extractor(self):
        return AutocorrelationF0()


class TestLowercaseNormalizer(TextNormalizerContract):
    @pytest.fixture
    def normalizer(self):
        return LowercaseNormalizer()


class TestLongerText(EvalTaskContract):
    @pytest.fixture
    def task(self):
        return LongerText()


class TestCountRecipe(RecipeContract):
    @pytest.fixture
    def recipe(self):
        return CountRecipe()

    def build_trained(self, path: Path):
        return (path / "count.json").read_text()
