"""Sounds that libsndfile does not read come through PyAV, exactly as long as they are."""

from __future__ import annotations

import builtins
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

from stlm.audio import containers, probe_audio, read_audio
from stlm.errors import DataError
from stlm.types import AudioRef

RATE = 16000


def encode(path: Path, samples: np.ndarray, codec: str) -> Path:
    """Write ``float32[C, N]`` by an encoder of FFmpeg."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono" if len(samples) == 1 else "stereo")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=stream.layout.name)
        frame.sample_rate = RATE
        fitted = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=RATE)
        for part in [*fitted.resample(frame), *fitted.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def tone(channels: int = 1, seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(RATE * seconds)) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * 440 * (1 + channel) * time) for channel in range(channels)]).astype("f4")


@pytest.mark.parametrize(
    ("suffix", "codec", "error"), [(".m4a", "alac", 1e-4), (".m4a", "aac", 0.05), (".mov", "pcm_s16le", 1e-4)]
)
def test_the_sound_comes_out_as_it_went_in(tmp_path: Path, suffix: str, codec: str, error: float) -> None:
    samples = tone()
    found = read_audio(encode(tmp_path / f"a{suffix}", samples, codec))
    shift = 0 if codec != "aac" else int(np.argmax(np.correlate(found.samples, samples[0, 2000:4000], "valid"))) - 2000
    length = min(samples.shape[1], found.num_samples - shift) - 2000
    assert found.sample_rate == RATE and abs(found.num_samples - samples.shape[1]) <= 2048
    np.testing.assert_allclose(found.samples[shift + 2000 :][: length - 2000], samples[0, 2000:length], atol=error)


def test_a_stretch_of_a_channel_in_a_tar(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.m4a", tone(2), "alac")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        archive.add(file, "b/a.m4a")
    uri = f"tar://b/a.m4a::{tmp_path / 'c.tar'}#channel=1"
    assert probe_audio(uri).num_samples == RATE
    found = read_audio(AudioRef(uri=uri, sample_rate=RATE, start=3000, num_samples=500))
    np.testing.assert_allclose(found.samples, tone(2)[1, 3000:3500], atol=1e-4)


def test_a_file_is_decoded_once_for_all_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = encode(tmp_path / "a.m4a", tone(), "alac")
    calls = []
    decode = containers._decode
    monkeypatch.setattr(containers, "_decode", lambda *given: calls.append(given) or decode(*given))
    for start in range(0, RATE, 1000):
        read_audio(AudioRef(uri=str(file), sample_rate=RATE, start=start, num_samples=1000))
    assert len(calls) == 1


def test_what_holds_no_sound_or_half_a_file_says_so(tmp_path: Path) -> None:
    whole = encode(tmp_path / "a.m4a", tone(), "aac").read_bytes()
    (tmp_path / "half.m4a").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.mp4").write_text("this is no film")
    with av.open(str(tmp_path / "silent.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(stream.encode(None))
    for name, reason in (
        ("half.m4a", "cannot be decoded"),
        ("text.mp4", "cannot be decoded"),
        ("silent.mkv", "holds no sound"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            read_audio(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = encode(tmp_path / "a.m4a", tone(), "alac")
    real = builtins.__import__
    monkeypatch.setattr(containers, "import_module", lambda name: real("no_such_package_as_" + name))
    with pytest.raises(DataError, match=r"pip install 'stlm\[containers\]'"):
        read_audio(file)
