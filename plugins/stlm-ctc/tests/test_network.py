"""Padding and cutting change nothing: neither the front-end, nor the network, nor long recordings in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio
from stlm_ctc import recogniser as recogniser_module
from stlm_ctc.features import features_of, log_mel_of, normalized
from stlm_ctc.network import Network, NetworkOptions
from stlm_ctc.recogniser import Recogniser, load_recogniser

SHAPES = [{"stride": 2, "split": 1}, {"stride": 4, "split": 2}, {"stride": 4, "split": 1}, {"stride": 1, "split": 1}]


def make_network(**options: int) -> Network:
    torch.manual_seed(0)
    sizes = {"num_mels": 20, "width": 16, "layers": 3, "kernel": 5, **options}
    return Network(NetworkOptions(**sizes), 6).eval()


def noise(seconds: float, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds))
    return Audio(samples=samples.astype(np.float32), sample_rate=16000)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_lies_beyond_the_length_does_not_matter(shape: dict[str, int]) -> None:
    network = make_network(**shape)
    rows = [torch.randn(length, 20) for length in (1, 7, 50, 33)]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.full((4, 61, 20), 1e3)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    together, counts = network(padded, lengths)
    for place, row in enumerate(rows):
        alone, count = network(row[None], lengths[place : place + 1])
        assert int(count) == int(counts[place]) == network.options.num_frames(len(row)) == alone.shape[1]
        torch.testing.assert_close(together[place, : int(count)], alone[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_long_recording_in_pieces_is_what_the_whole_is(
    shape: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = Recogniser(make_network(**shape), " abcd")
    batch = [noise(3.017), noise(0.5, 1), noise(1.23, 2)]
    whole = recogniser.emissions(batch)
    monkeypatch.setattr(recogniser_module, "PIECE", 37)
    monkeypatch.setattr(recogniser_module, "BATCH", 150)
    for one, other in zip(whole, recogniser.emissions(batch), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_frame_sees_no_further_than_its_reach() -> None:
    network = make_network(stride=2)
    rows = torch.randn(1, 120, 20)
    changed = rows.clone()
    changed[0, 60:] += 1
    before, after = (network(item, torch.tensor([120]))[0][0] for item in (rows, changed))
    first = int((before - after).abs().amax(1).gt(1e-6).nonzero()[0])
    assert 60 // 2 - network.options.reach // 2 <= first < 30


def test_features_are_free_of_level_channel_and_pauses() -> None:
    log_mel = log_mel_of(40, 16000)
    samples = noise(1.0).samples * (1 + np.sin(np.arange(16000) / 800)).astype(np.float32)
    (plain,) = features_of(log_mel, [samples])
    (soft,) = features_of(log_mel, [samples / 50])
    torch.testing.assert_close(plain, soft, atol=1e-3, rtol=1e-3)
    (frames,) = log_mel.split([samples])
    torch.testing.assert_close(normalized(frames + torch.linspace(0, 1, 40)), plain, atol=0.15, rtol=0.1)
    (with_pause,) = features_of(log_mel, [np.concatenate([samples, np.zeros(32000, np.float32)])])
    torch.testing.assert_close(with_pause[:95], plain[:95], atol=0.1, rtol=0)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.05, 0.011])
def test_the_shortest_sounds_are_read(recogniser: Recogniser, seconds: float) -> None:
    (emission,) = recogniser.emissions([noise(seconds)])
    assert len(emission) == recogniser.network.options.num_frames(int(seconds * 100))
    assert isinstance(recogniser.read(emission), str)


def test_repetitions_join_and_blanks_part() -> None:
    recogniser = Recogniser(make_network(), " abcd")
    symbols = torch.tensor([0, 2, 2, 0, 2, 1, 1, 0, 1, 3, 0, 1])
    assert recogniser.read(torch.nn.functional.one_hot(symbols, 6).float()) == "aa b"


def test_saving_keeps_what_is_read(recogniser: Recogniser, tmp_path: Path) -> None:
    recogniser.save(tmp_path)
    again = load_recogniser(tmp_path)
    torch.testing.assert_close(again.emissions([noise(1.0)])[0], recogniser.emissions([noise(1.0)])[0])
    assert again.alphabet == recogniser.alphabet
    assert again.notes == recogniser.notes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "cannot be read as JSON"),
        ("config.json", "[]", "expected a mapping"),
        ("config.json", '{"alphabet": " ab", "sample_rate": 16000}', "no key 'network'"),
        ("config.json", '{"network": {"widht": 3}, "alphabet": " ab", "sample_rate": 16000}', "did you mean 'width'"),
        ("config.json", '{"network": {}, "alphabet": " aa", "sample_rate": 16000}', "that all differ"),
        ("model.safetensors", "junk", "cannot be read"),
    ],
)
def test_a_broken_recogniser_is_one_clear_line(
    recogniser: Recogniser, tmp_path: Path, name: str, content: str, message: str
) -> None:
    recogniser.save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises((DataError, FormatError, ConfigError), match=message) as caught:
        load_recogniser(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recogniser_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe=ctc"):
        load_recogniser("")
    with pytest.raises(DataError, match=r"config\.json: no such file"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize("wrong", [{"kernel": 4}, {"width": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_config_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NetworkOptions(**wrong)
