"""The laws that stlm asks of every judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from stlm.testing.contracts import JudgeContract
from stlm_judges import pocketsphinx, wav2vec2_ctc, whisper


class TestWhisper(JudgeContract):
    component = "whisper"

    @pytest.fixture
    def judge(self, whisper_path: Path) -> whisper.WhisperJudge:
        return whisper.build(whisper.Config(model=str(whisper_path), batch_size=2))


class TestWav2Vec2(JudgeContract):
    component = "wav2vec2_ctc"

    @pytest.fixture
    def judge(self, wav2vec2_path: Path) -> wav2vec2_ctc.Wav2Vec2Judge:
        return wav2vec2_ctc.build(wav2vec2_ctc.Config(model=str(wav2vec2_path), longest=1.5))


class TestPocketSphinx(JudgeContract):
    component = "pocketsphinx"

    @pytest.fixture
    def judge(self) -> pocketsphinx.PocketSphinxJudge:
        pytest.importorskip("pocketsphinx", reason="needs stlm-judges[pocketsphinx]")
        return pocketsphinx.build(pocketsphinx.Config())
