"""The contracts of stlm's interfaces, for every component of the plugin."""

import pytest

from stlm.testing.contracts import EvalTaskContract, SourceContract
from stlm_windtunnel.blimp import WindTunnelBlimp
from stlm_windtunnel.cloze import WindTunnelCloze
from stlm_windtunnel.source import WindTunnelSource
from stlm_windtunnel.wuggy import WindTunnelWuggy


class TestStories(SourceContract):
    @pytest.fixture
    def source(self):
        return WindTunnelSource(num=7, seed=3)


class TestTextSentences(SourceContract):
    @pytest.fixture
    def source(self):
        return WindTunnelSource(num=7, seed=3, kind="sentences", modality="text")


class TestCloze(EvalTaskContract):
    @pytest.fixture
    def task(self):
        return WindTunnelCloze(num_pairs=4)


class TestWuggy(EvalTaskContract):
    @pytest.fixture
    def task(self):
        return WindTunnelWuggy(num_pairs=6)


class TestBlimp(EvalTaskContract):
    @pytest.fixture
    def task(self):
        return WindTunnelBlimp(num_pairs=6)
