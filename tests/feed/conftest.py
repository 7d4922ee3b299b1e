"""A small corpus of speech, text and both, as shards, and the mixture over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stlm.feed import FeedSource
from stlm.interleave import Unimodal, WordSpans
from stlm.testing.factories import make_corpus, write_shards

MakeSources = Callable[[], list[FeedSource]]


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spoken utterances in 8 groups, texts in 6."""
    root = tmp_path_factory.mktemp("shards")
    write_shards(root / "spoken", make_corpus(24, seed=1), num_shards=2, group_size=3)
    write_shards(root / "texts", make_corpus(30, seed=2, streams=(), most_words=40), num_shards=2, group_size=5)
    return root


@pytest.fixture
def mixture(shards: Path) -> MakeSources:
    """The paper's mixture: speech, text and both, a third each."""
    return Mixture(shards)


class Mixture:
    """A callable that pickles, as loader processes need it."""

    def __init__(self, shards: Path) -> None:
        self.shards = shards

    def __call__(self) -> list[FeedSource]:
        from stlm.store import ShardSet

        spoken, texts = ShardSet(self.shards / "spoken"), ShardSet(self.shards / "texts")
        return [
            FeedSource(name="speech", shards=spoken, interleaver=Unimodal("speech")),
            FeedSource(name="text", shards=texts, interleaver=Unimodal("text")),
            FeedSource(name="interleaved", shards=spoken, interleaver=WordSpans((1, 4), (1, 4))),
        ]
