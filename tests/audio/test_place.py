"""Files in tars and single channels, by uri; a damaged tar says what is missing."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.audio import Place, decode_audio, probe_audio, read_audio, read_member, tar_index
from stlm.errors import DataError
from stlm.types import AudioRef

RATE = 8000
SIDES = np.random.default_rng(0).normal(0, 0.1, (RATE, 2))


def packed(folder: Path, *names: str) -> Path:
    """A tar with one stereo recording in the format of each name."""
    for name in names:
        soundfile.write(folder / name, SIDES, RATE)
    with tarfile.open(folder / "a.tar", "w") as archive:
        for name in names:
            archive.add(folder / name, f"x/{name}")
    return folder / "a.tar"


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("a b.wav", Place(path=Path("a b.wav"))),
        ("/d/a#1.wav", Place(path=Path("/d/a#1.wav"))),
        ("a.wav#channel=1", Place(path=Path("a.wav"), channel=1)),
        ("tar://x/a.flac::/d/b.tar", Place(path=Path("/d/b.tar"), member="x/a.flac")),
        ("tar://a.wav::b.tar#channel=0", Place(path=Path("b.tar"), member="a.wav", channel=0)),
    ],
)
def test_a_uri_is_its_parts(uri: str, place: Place) -> None:
    assert Place.of(uri) == place and place.uri == uri


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_in_a_tar_sounds_as_the_file_beside_it(tmp_path: Path, suffix: str) -> None:
    tar = packed(tmp_path, f"a.{suffix}", f"b.{suffix}")
    uri = f"tar://x/b.{suffix}::{tar}"
    whole = read_audio(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(read_audio(uri).samples, whole.samples)
    np.testing.assert_array_equal(decode_audio((tmp_path / f"b.{suffix}").read_bytes(), "b").samples, whole.samples)
    assert probe_audio(uri) == AudioRef(uri=uri, sample_rate=RATE, num_samples=whole.num_samples)
    part = AudioRef(uri=uri, sample_rate=RATE, start=100, num_samples=50)
    np.testing.assert_allclose(read_audio(part).samples, whole.samples[100:150], atol=1e-3)


def test_a_channel_is_read_alone_and_counted_from_zero(tmp_path: Path) -> None:
    tar = packed(tmp_path, "a.wav")
    for channel in (0, 1):
        for file in (f"{tmp_path}/a.wav", f"tar://x/a.wav::{tar}"):
            found = read_audio(f"{file}#channel={channel}")
            np.testing.assert_allclose(found.samples, SIDES[:, channel], atol=2**-14)
    with pytest.raises(DataError, match=r"a\.wav#channel=2: there is no such channel, the file has 2"):
        probe_audio(f"{tmp_path}/a.wav#channel=2")


def test_the_channel_of_a_mono_file_is_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SIDES[:, 0], RATE)
    np.testing.assert_allclose(read_audio(f"{tmp_path}/a.wav#channel=0").samples, SIDES[:, 0], atol=2**-14)


def test_a_tar_that_is_cut_off_gives_what_is_whole(tmp_path: Path) -> None:
    tar = packed(tmp_path, "a.wav", "b.wav")
    content = tar.read_bytes()
    tar.write_bytes(content[: tar_index(tar).files["x/b.wav"][0] + 1000])
    index = tar_index(tar)
    assert index.fault and isinstance(index.files["x/a.wav"], tuple)
    assert read_audio(f"tar://x/a.wav::{tar}").num_samples == RATE
    with pytest.raises(DataError, match=r"a\.tar: x/b\.wav is cut off, for the archive ends after"):
        read_audio(f"tar://x/b.wav::{tar}")


@pytest.mark.parametrize("extra", [b"", b"\0" * 100, b"not a header" * 100])
def test_a_tar_whose_end_is_missing_is_noticed(tmp_path: Path, extra: bytes) -> None:
    tar = packed(tmp_path, "a.wav")
    assert tar_index(tar).fault is None
    start, size = tar_index(tar).files["x/a.wav"]
    tar.write_bytes(tar.read_bytes()[: -(-(start + size) // 512) * 512] + extra)
    index = tar_index(tar)
    assert list(index.files) == ["x/a.wav"] and index.fault and "expected more files or the mark" in index.fault


def test_what_is_no_plain_file_cannot_be_read(tmp_path: Path) -> None:
    tar = packed(tmp_path, "a.wav")
    with tarfile.open(tar, "a") as archive:
        archive.add(tmp_path / "a.wav", "x/a.wav")
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    for name, reason in (("x/a.wav", "is there twice"), ("link.wav", "is a link"), ("no.wav", "is not in this")):
        with pytest.raises(DataError, match=reason):
            read_member(tar, name)


def test_what_is_no_tar_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("no tar")
    for path in (tmp_path / "a.tar", tmp_path / "none.tar", tmp_path):
        with pytest.raises(DataError, match="cannot be read as a tar"):
            tar_index(path)


def test_an_empty_file_in_a_tar_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.wav", "a.wav")
    with pytest.raises(DataError, match=r"tar://a\.wav::.*0 bytes"):
        probe_audio(f"tar://a.wav::{tmp_path}/a.tar")
