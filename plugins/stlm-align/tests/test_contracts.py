"""The laws that stlm asks of every aligner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stlm.testing.contracts import AlignerContract
from stlm.types import Audio
from stlm_align import mms, pocketsphinx, wav2vec2_ctc


class TestWav2Vec2(AlignerContract):
    component = "wav2vec2_ctc"

    @pytest.fixture
    def aligner(self, ctc_path: Path) -> wav2vec2_ctc.Wav2Vec2Aligner:
        return wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(ctc_path), window=1.0, overlap=0.5))


class TestMms(AlignerContract):
    component = "mms"

    @pytest.fixture
    def aligner(self, mms_path: Path, small_mms: None) -> mms.MmsAligner:
        return mms.build(mms.Config(directory=str(mms_path)))


class TestPocketSphinx(AlignerContract):
    component = "pocketsphinx"

    @pytest.fixture
    def aligner(self) -> pocketsphinx.PocketSphinxAligner:
        pytest.importorskip("pocketsphinx", reason="needs stlm-align[pocketsphinx]")
        # noise is like no word: only a wide beam keeps a path through it
        return pocketsphinx.build(pocketsphinx.Config(beam=1e-200))

    @pytest.fixture
    def spoken(self, noise: Callable[..., Audio]) -> tuple[Audio, str]:
        return noise(0.5), "One - it's 1984!"
