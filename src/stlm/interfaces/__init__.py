"""The abstract interfaces that plugins implement. Names load on first use: only the backbone needs torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stlm.interfaces.backbone import AdaptableBackbone, BackboneCache, BackboneLM, Hidden, LoraOptions
    from stlm.interfaces.batch import PackedBatch
    from stlm.interfaces.eval_task import ChoiceItem, EvalTask
    from stlm.interfaces.interleaver import Interleaver
    from stlm.interfaces.judge import Aligner, Classifier, F0Extractor, Judge, TextNormalizer
    from stlm.interfaces.recipe import Recipe
    from stlm.interfaces.source import Source
    from stlm.interfaces.stage import Runner, Stage
    from stlm.interfaces.unit_encoder import ExportableTextEncoder, SpeechUnitEncoder, TextUnitEncoder, UnitEncoder
    from stlm.interfaces.vocoder import Vocoder

_HOMES = {
    "AdaptableBackbone": "backbone",
    "Aligner": "judge",
    "BackboneCache": "backbone",
    "BackboneLM": "backbone",
    "ChoiceItem": "eval_task",
    "Classifier": "judge",
    "EvalTask": "eval_task",
    "ExportableTextEncoder": "unit_encoder",
    "F0Extractor": "judge",
    "Hidden": "backbone",
    "Interleaver": "interleaver",
    "Judge": "judge",
    "LoraOptions": "backbone",
    "PackedBatch": "batch",
    "Recipe": "recipe",
    "Runner": "stage",
    "Source": "source",
    "SpeechUnitEncoder": "unit_encoder",
    "Stage": "stage",
    "TextNormalizer": "judge",
    "TextUnitEncoder": "unit_encoder",
    "UnitEncoder": "unit_encoder",
    "Vocoder": "vocoder",
}

__all__ = [
    "AdaptableBackbone",
    "Aligner",
    "BackboneCache",
    "BackboneLM",
    "ChoiceItem",
    "Classifier",
    "EvalTask",
    "ExportableTextEncoder",
    "F0Extractor",
    "Hidden",
    "Interleaver",
    "Judge",
    "LoraOptions",
    "PackedBatch",
    "Recipe",
    "Runner",
    "Source",
    "SpeechUnitEncoder",
    "Stage",
    "TextNormalizer",
    "TextUnitEncoder",
    "UnitEncoder",
    "Vocoder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stlm.interfaces' has no attribute {name!r}")
    return getattr(import_module(f"stlm.interfaces.{_HOMES[name]}"), name)
