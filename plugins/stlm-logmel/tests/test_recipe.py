"""The recipe repeats itself exactly, reads references, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from stlm.audio import probe_audio
from stlm.errors import ConfigError, DataError
from stlm.types import Audio, AudioRef, Utterance
from stlm_logmel.encoder import Config as EncoderConfig
from stlm_logmel.encoder import build
from stlm_logmel.recipe import Config, LogMelKMeansRecipe


def train(out: Path, recordings: list[Utterance], **options: object) -> Path:
    out.mkdir()
    LogMelKMeansRecipe(Config(**{"num_units": 16, **options})).train(recordings, out)
    return out


def test_equal_data_and_seed_give_equal_files(tmp_path: Path, recordings: list[Utterance]) -> None:
    first, second = (train(tmp_path / name, recordings) for name in "ab")
    for name in ("codebook.safetensors", "config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_another_seed_gives_another_stream(tmp_path: Path, recordings: list[Utterance]) -> None:
    prints = {
        build(EncoderConfig(path=str(train(tmp_path / str(seed), recordings, seed=seed)))).fingerprint
        for seed in (1, 2)
    }
    assert len(prints) == 2


def test_every_unit_is_used(tmp_path: Path, recordings: list[Utterance]) -> None:
    encoder = build(EncoderConfig(path=str(train(tmp_path / "a", recordings))))
    used = {int(code) for units in encoder.encode([item.audio for item in recordings]) for code in units.codes[:, 0]}
    assert used == set(range(16))


def test_files_are_read_by_reference(tmp_path: Path, recordings: list[Utterance]) -> None:
    refs = []
    for item in recordings[:4]:
        item.audio.save(tmp_path / f"{item.id}.wav")
        refs.append(Utterance(id=item.id, audio=probe_audio(tmp_path / f"{item.id}.wav")))
    arrays = load_file(train(tmp_path / "out", refs) / "codebook.safetensors")
    assert arrays["centroids"].shape == (16, 39)
    assert arrays["sounds"].shape == (16, 4, 80)


def test_max_hours_stops_reading(tmp_path: Path, recordings: list[Utterance]) -> None:
    limited = train(tmp_path / "a", recordings, max_hours=6 / 3600)
    assert (limited / "codebook.safetensors").read_bytes() == (
        train(tmp_path / "b", recordings[:2]) / "codebook.safetensors"
    ).read_bytes()


def test_the_stream_name_is_kept(tmp_path: Path, recordings: list[Utterance]) -> None:
    assert build(EncoderConfig(path=str(train(tmp_path / "a", recordings, stream="units")))).spec.name == "units"


def test_no_audio_or_too_little_is_a_data_error(tmp_path: Path, recordings: list[Utterance]) -> None:
    with pytest.raises(DataError, match="no features"):
        train(tmp_path / "a", [Utterance(id="text", text="no sound")])
    with pytest.raises(DataError, match=r"75 frames for 100 clusters"):
        train(tmp_path / "b", recordings[:1], num_units=100)


def test_an_impossible_number_of_units_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="num_units"):
        LogMelKMeansRecipe(Config(num_units=70_000))


def test_recordings_that_cannot_be_read_are_passed_over(
    recordings: list[Utterance], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = np.full(16000, np.nan, np.float32)
    gone = AudioRef(uri=str(tmp_path / "gone.wav"), sample_rate=16000, num_samples=16000)
    bad = [
        Utterance(id="nan", audio=Audio(samples=broken, sample_rate=16000)),
        Utterance(id="gone", audio=gone),
        Utterance(id="text", text="no sound"),
    ]
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    for out, corpus in ((whole, recordings), (rest, [bad[0], *recordings[:5], *bad[1:], *recordings[5:]])):
        out.mkdir()
        LogMelKMeansRecipe(Config(num_units=8)).train(corpus, out)
    assert (rest / "codebook.safetensors").read_bytes() == (whole / "codebook.safetensors").read_bytes()
    assert "nan: audio holds NaN" in caplog.text and "gone.wav: no such file" in caplog.text
