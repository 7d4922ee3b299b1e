"""The laws that stlm asks of every encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import SpeechUnitEncoderContract
from stlm_style import encoder
from stlm_style.encoder import StyleEncoder


class TestStyleEncoder(SpeechUnitEncoderContract):
    component = "style_w2v2"

    @pytest.fixture
    def encoder(self, classifier_path: Path) -> StyleEncoder:
        return self.reload(classifier_path)

    def reload(self, directory: Path) -> StyleEncoder:
        return encoder.build(encoder.Config(path=str(directory)))
