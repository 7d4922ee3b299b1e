"""One suite of laws per interface. Subclass it with one fixture and pytest runs the laws on your implementation.

```python
import pytest
from stlm.testing.contracts import SpeechUnitEncoderContract
from stlm_example.encoder import ExampleEncoder


class TestExampleEncoder(SpeechUnitEncoderContract):
    component = "example"  # optional: checks its registration, too

    @pytest.fixture
    def encoder(self):
        return ExampleEncoder(levels=8)

    def reload(self, directory):  # optional: checks that what it saves loads again
        return ExampleEncoder.load(directory)
```

The class must be named ``Test…``. Each contract's docstring names its fixture and what else can be given. Where an
implementation deserves other inputs than the default ones (another language, another sample rate), override the fixture
that makes them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stlm.testing.contracts.aligner import AlignerContract
    from stlm.testing.contracts.backbone import AdaptableBackboneContract, BackboneContract
    from stlm.testing.contracts.classifier import ClassifierContract
    from stlm.testing.contracts.component import ComponentContract
    from stlm.testing.contracts.eval_task import EvalTaskContract
    from stlm.testing.contracts.f0_extractor import F0ExtractorContract
    from stlm.testing.contracts.interleaver import InterleaverContract
    from stlm.testing.contracts.judge import JudgeContract
    from stlm.testing.contracts.recipe import RecipeContract
    from stlm.testing.contracts.runner import RunnerContract
    from stlm.testing.contracts.source import SourceContract
    from stlm.testing.contracts.speech_unit_encoder import SpeechUnitEncoderContract
    from stlm.testing.contracts.stage import StageContract
    from stlm.testing.contracts.text_normalizer import TextNormalizerContract
    from stlm.testing.contracts.text_unit_encoder import TextUnitEncoderContract
    from stlm.testing.contracts.vocoder import VocoderContract

_HOMES = {
    "AdaptableBackboneContract": "backbone",
    "AlignerContract": "aligner",
    "BackboneContract": "backbone",
    "ClassifierContract": "classifier",
    "ComponentContract": "component",
    "EvalTaskContract": "eval_task",
    "F0ExtractorContract": "f0_extractor",
    "InterleaverContract": "interleaver",
    "JudgeContract": "judge",
    "RecipeContract": "recipe",
    "RunnerContract": "runner",
    "SourceContract": "source",
    "SpeechUnitEncoderContract": "speech_unit_encoder",
    "StageContract": "stage",
    "TextNormalizerContract": "text_normalizer",
    "TextUnitEncoderContract": "text_unit_encoder",
    "VocoderContract": "vocoder",
}

__all__ = [
    "AdaptableBackboneContract",
    "AlignerContract",
    "BackboneContract",
    "ClassifierContract",
    "ComponentContract",
    "EvalTaskContract",
    "F0ExtractorContract",
    "InterleaverContract",
    "JudgeContract",
    "RecipeContract",
    "RunnerContract",
    "SourceContract",
    "SpeechUnitEncoderContract",
    "StageContract",
    "TextNormalizerContract",
    "TextUnitEncoderContract",
    "VocoderContract",
]

# before any of them is imported, so that a failing law shows its values
pytest.register_assert_rewrite(*{f"{__name__}.{home}" for home in _HOMES.values()})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stlm.testing.contracts' has no attribute {name!r}")
    return getattr(import_module(f"stlm.testing.contracts.{_HOMES[name]}"), name)
