"""Files to Audio and back, and one clear line for every bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.audio import probe_audio, read_audio, write_audio
from stlm.errors import DataError
from stlm.types import Audio, AudioRef

RATE = 16000


def noise(seconds: float = 1.0, rate: int = RATE) -> Audio:
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * rate))
    return Audio(samples=samples.astype(np.float32), sample_rate=rate)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sixteen_bit_files_give_the_samples_back(tmp_path: Path, suffix: str) -> None:
    audio = noise()
    audio.save(tmp_path / f"a.{suffix}")
    again = read_audio(tmp_path / f"a.{suffix}")
    assert again.sample_rate == RATE
    np.testing.assert_allclose(again.samples, audio.samples, atol=2**-14)


def test_ogg_keeps_length_and_sound(tmp_path: Path) -> None:
    time = np.arange(RATE) / RATE
    audio = Audio(samples=(0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), sample_rate=RATE)
    audio.save(tmp_path / "a.ogg")
    again = read_audio(tmp_path / "a.ogg")
    assert again.num_samples == audio.num_samples
    assert np.corrcoef(again.samples, audio.samples)[0, 1] > 0.99


@pytest.mark.slow
def test_half_an_hour_of_ogg_does_not_crash(tmp_path: Path) -> None:
    Audio(samples=np.zeros(1800 * RATE, np.float32), sample_rate=RATE).save(tmp_path / "long.ogg")
    assert probe_audio(tmp_path / "long.ogg").num_samples == 1800 * RATE


def test_too_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    Audio(samples=np.array([2, -2, 0.5], np.float32), sample_rate=RATE).save(tmp_path / "a.wav")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, [1, -1, 0.5], atol=2**-14)


def test_channels_are_mixed_by_their_mean(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([[0.5, 0.0], [0.5, -0.5]]), RATE)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, [0.25, 0.0], atol=2**-14)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_reference_reads_exactly_its_stretch(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise().save(path)
    ref = AudioRef(uri=str(path), sample_rate=RATE, start=1234, num_samples=567)
    np.testing.assert_array_equal(read_audio(ref).samples, read_audio(path).samples[1234 : 1234 + 567])


def test_reading_resamples_when_asked(tmp_path: Path) -> None:
    noise(rate=8000).save(tmp_path / "a.wav")
    assert read_audio(tmp_path / "a.wav", RATE).sample_rate == RATE
    assert read_audio(tmp_path / "a.wav", RATE).num_samples == RATE


def test_probe_refers_to_the_whole_file(tmp_path: Path) -> None:
    noise(0.5).save(tmp_path / "a.flac")
    expected = AudioRef(uri=str(tmp_path / "a.flac"), sample_rate=RATE, num_samples=RATE // 2)
    assert probe_audio(tmp_path / "a.flac") == expected


def make_bad(directory: Path, kind: str) -> Path:
    path = directory / "bad.wav"
    if kind == "empty":
        path.touch()
    elif kind == "garbage":
        path.write_bytes(b"no sound at all" * 50)
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0, np.float32), RATE)
    elif kind == "nan":
        soundfile.write(path, np.array([0, np.nan], np.float32), RATE, subtype="FLOAT")
    elif kind == "infinite":
        soundfile.write(path, np.array([0, np.inf], np.float32), RATE, subtype="FLOAT")
    elif kind == "directory":
        path.mkdir()
    return path


KINDS = ["missing", "empty", "garbage", "no samples", "nan", "infinite", "directory"]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_raise_one_line_with_the_path(tmp_path: Path, kind: str) -> None:
    path = make_bad(tmp_path, kind)
    with pytest.raises(DataError) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_a_file_cut_off_in_the_middle_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\."):
        read_audio(path)


def test_a_flac_stream_without_length_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    noise().save(path)
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(data)
    with pytest.raises(DataError, match="does not tell the length"):
        probe_audio(path)


def test_a_reference_that_does_not_fit_its_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    noise().save(path)
    with pytest.raises(DataError, match=r"ends after 16000 samples, expected 16001"):
        read_audio(AudioRef(uri=str(path), sample_rate=RATE, start=1, num_samples=RATE))
    with pytest.raises(DataError, match=r"16000 Hz, but the reference counts samples at 8000 Hz"):
        read_audio(AudioRef(uri=str(path), sample_rate=8000, num_samples=10))


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown suffix '.wva'.*did you mean '.wav'"):
        write_audio(tmp_path / "a.wva", noise())


def test_audio_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="NaN"):
        write_audio(tmp_path / "a.wav", Audio(samples=np.array([np.nan], np.float32), sample_rate=RATE))
    assert not (tmp_path / "a.wav").exists()


def test_writing_into_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="check that the directory exists"):
        write_audio(tmp_path / "no" / "a.wav", noise())


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_a_wav_that_is_shorter_than_its_header_says_was_cut_off(tmp_path: Path, container: str) -> None:
    """libsndfile would read what is left of it without a word."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise().samples, RATE, format=container)
    whole = path.read_bytes()
    assert read_audio(path).num_samples == RATE
    for length in (len(whole) - 1, len(whole) // 2, len(whole) - 2 * RATE):
        path.write_bytes(whole[:length])
        for read in (read_audio, probe_audio):
            with pytest.raises(DataError, match=f"cut off after {length} bytes, expected {len(whole)}"):
                read(path)
    path.write_bytes(whole + b"LIST\x04\0\0\0abcd")
    assert read_audio(path).num_samples == RATE, "what follows the samples does not matter"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_that_was_written_into_a_pipe_does_not_know_its_length(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    noise().save(path)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_audio(path).num_samples == RATE


def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as audio"):
        read_audio(tmp_path / ("x" * 300 + ".wav"))
