"""The laws that stlm asks of every vocoder, for both families."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stlm.testing.contracts import VocoderContract
from stlm.types import AlignedUnits
from stlm_hifigan import vocoder
from stlm_hifigan.vocoder import HifiganVocoder


class TestBaseHifigan(VocoderContract):
    component = "hifigan"

    @pytest.fixture
    def vocoder(self, base_path: Path) -> HifiganVocoder:
        return self.reload(base_path)

    def reload(self, directory: Path) -> HifiganVocoder:
        return vocoder.build(vocoder.Config(path=str(directory)))


class TestExpressiveHifigan(TestBaseHifigan):
    @pytest.fixture
    def vocoder(self, expressive_path: Path) -> HifiganVocoder:
        return self.reload(expressive_path)

    @pytest.fixture
    def units(self) -> AlignedUnits:
        rng = np.random.default_rng(0)
        return AlignedUnits(
            streams={name: rng.integers(0, 9, (12, 1)).astype(np.uint16) for name in ("hubert", "pitch", "style")}
        )


class TestExpressiveHifiganOfUnitsAlone(TestExpressiveHifigan):
    """Pitch and style are mended, by the same laws."""

    @pytest.fixture
    def units(self) -> AlignedUnits:
        codes = np.random.default_rng(0).integers(0, 9, (12, 1)).astype(np.uint16)
        return AlignedUnits(streams={"hubert": codes})
