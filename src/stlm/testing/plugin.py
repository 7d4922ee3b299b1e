"""The fakes as a plugin: every hook is implemented, so that whole pipelines run on them by name.

It is not installed; ``fake_registry()`` puts it beside the plugins that are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path

from stlm.plugin import Component, Registry, default_registry, hookimpl, load_plugins
from stlm.testing import fakes
from stlm.testing.factories import make_corpus

HERE = "stlm.testing.plugin"


@dataclass(frozen=True, kw_only=True)
class NoConfig:
    """For what has no options."""


@dataclass(frozen=True, kw_only=True)
class PathConfig:
    """For what is made anew, or loaded from where it was saved."""

    path: str = ""


@dataclass(frozen=True, kw_only=True)
class EnergyConfig(PathConfig):
    """Options of `EnergyEncoder`."""

    levels: int = 8


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """A corpus of random utterances with noise for speech."""

    num: int = 10
    seed: int = 0


def build_energy(config: EnergyConfig) -> fakes.EnergyEncoder:
    return fakes.EnergyEncoder.load(Path(config.path)) if config.path else fakes.EnergyEncoder(config.levels)


def build_bytes(config: PathConfig) -> fakes.ByteText:
    return fakes.ByteText.load(Path(config.path)) if config.path else fakes.ByteText()


def build_tone(config: PathConfig) -> fakes.ToneVocoder:
    return fakes.ToneVocoder.load(Path(config.path)) if config.path else fakes.ToneVocoder()


def build_corpus(config: CorpusConfig) -> fakes.ListSource:
    """Utterances that speak but have no units yet."""
    spoken = make_corpus(config.num, seed=config.seed)
    return fakes.ListSource([replace(utterance, streams={}) for utterance in spoken])


def build_uppercase(config: NoConfig) -> fakes.UppercaseStage:
    return fakes.UppercaseStage()


def build_longer_text(config: NoConfig) -> fakes.LongerText:
    return fakes.LongerText()


def build_count(config: NoConfig) -> fakes.CountRecipe:
    return fakes.CountRecipe()


def build_even(config: NoConfig) -> fakes.EvenAligner:
    return fakes.EvenAligner()


def build_judge(config: NoConfig) -> fakes.EnergyJudge:
    return fakes.EnergyJudge()


def build_classifier(config: NoConfig) -> fakes.LoudnessClassifier:
    return fakes.LoudnessClassifier()


def build_f0(config: NoConfig) -> fakes.AutocorrelationF0:
    return fakes.AutocorrelationF0()


def build_lowercase(config: NoConfig) -> fakes.LowercaseNormalizer:
    return fakes.LowercaseNormalizer()


def _component(name: str, build: str, config: str = "NoConfig") -> Component:
    return Component(name=name, factory=f"{HERE}:{build}", config=f"{HERE}:{config}")


@hookimpl
def stlm_unit_encoders() -> Sequence[Component]:
    return [
        _component("energy", "build_energy", "EnergyConfig"),
        _component("bytes", "build_bytes", "PathConfig"),
    ]


@hookimpl
def stlm_interleavers() -> Sequence[Component]:
    module = "stlm.interleave.unimodal"
    return [Component(name="fake_unimodal", factory=f"{module}:build", config=f"{module}:Config")]


@hookimpl
def stlm_backbones() -> Sequence[Component]:
    module = "stlm.testing.tiny_backbone"
    return [Component(name="tiny", factory=f"{module}:build", config=f"{module}:Config")]


@hookimpl
def stlm_vocoders() -> Sequence[Component]:
    return [_component("tone", "build_tone", "PathConfig")]


@hookimpl
def stlm_sources() -> Sequence[Component]:
    return [_component("corpus", "build_corpus", "CorpusConfig")]


@hookimpl
def stlm_stages() -> Sequence[Component]:
    return [_component("uppercase", "build_uppercase")]


@hookimpl
def stlm_runners() -> Sequence[Component]:
    module = "stlm.prepare.local"
    return [Component(name="fake_local", factory=f"{module}:build", config=f"{module}:Config")]


@hookimpl
def stlm_aligners() -> Sequence[Component]:
    return [_component("even", "build_even")]


@hookimpl
def stlm_judges() -> Sequence[Component]:
    return [_component("energy_judge", "build_judge")]


@hookimpl
def stlm_classifiers() -> Sequence[Component]:
    return [_component("loudness", "build_classifier")]


@hookimpl
def stlm_f0_extractors() -> Sequence[Component]:
    return [_component("autocorrelation", "build_f0")]


@hookimpl
def stlm_text_normalizers() -> Sequence[Component]:
    return [_component("lowercase", "build_lowercase")]


@hookimpl
def stlm_eval_tasks() -> Sequence[Component]:
    return [_component("longer_text", "build_longer_text")]


@hookimpl
def stlm_recipes() -> Sequence[Component]:
    return [_component("count", "build_count")]


def fake_registry() -> Registry:
    """What is installed, and the fakes as distribution "stlm-fakes"."""
    point = EntryPoint(name="stlm-fakes", value=HERE, group="stlm")
    return Registry([*default_registry().plugins, *load_plugins([point])])
