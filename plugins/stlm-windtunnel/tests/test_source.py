"""The source: laws of shards, splits and modalities."""

import numpy as np
import pytest

from stlm.errors import ConfigError
from stlm_windtunnel.source import Config, WindTunnelSource, build
from stlm_windtunnel.world import split_of


def test_an_utterance_depends_on_seed_and_index_only():
    whole = list(WindTunnelSource(num=6).utterances())
    parts = {u.id: u for shard in range(3) for u in WindTunnelSource(num=6).utterances(shard, 3)}
    assert set(parts) == {u.id for u in whole}
    later = {u.id: u for u in WindTunnelSource(num=3, first=3).utterances()}
    for utterance in whole:
        for other in (parts[utterance.id], later.get(utterance.id, utterance)):
            np.testing.assert_array_equal(utterance.audio.samples, other.audio.samples)
            assert utterance.words == other.words and utterance.labels == other.labels


def test_text_and_speech_of_an_index_say_the_same():
    spoken = list(WindTunnelSource(num=4).utterances())
    written = list(WindTunnelSource(num=4, modality="text").utterances())
    assert [u.text for u in spoken] == [u.text for u in written]
    assert all(u.audio is None and not u.words for u in written)
    assert not {u.id for u in spoken} & {u.id for u in written}


@pytest.mark.parametrize("kind", ["stories", "sentences"])
def test_utterances_carry_speech_words_speaker_and_labels(kind):
    utterance = WindTunnelSource(kind=kind, seed=7).utterance(123)
    assert utterance.id == f"windtunnel-{kind}-7-000123"
    assert utterance.audio.sample_rate == 16_000
    assert len(utterance.words) == len(utterance.text.split())
    assert set(utterance.labels) == {"topic", "mood", "style"}
    assert utterance.labels["style"] == utterance.labels["mood"]
    assert utterance.speaker.startswith("en-us")


def test_splits_are_disjoint_sentence_by_sentence():
    for split in ("train", "test"):
        for utterance in WindTunnelSource(kind="sentences", modality="text", num=30, split=split).utterances():
            assert split_of(utterance.text) == split


def test_voices_and_style_can_be_chosen():
    source = WindTunnelSource(kind="sentences", num=5, voices=("en-us+m1",), style="sad")
    assert {(u.speaker, u.labels["style"]) for u in source.utterances()} == {("en-us+m1", "sad")}
    styles = {u.labels["style"] for u in WindTunnelSource(kind="sentences", num=20, style="random").utterances()}
    assert len(styles) == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "storys"}, "did you mean 'stories'"),
        ({"modality": "audio"}, "choose one of"),
        ({"split": "tset"}, "did you mean 'test'"),
        ({"voices": ("en-us+m33",)}, "did you mean 'm3'"),
        ({"style": "hapy"}, "did you mean 'happy'"),
        ({"num": -1}, "num must be 0 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_bad_settings_say_how_to_mend_them(wrong, message):
    with pytest.raises(ConfigError, match=message):
        build(Config(**wrong))
