"""A URL is a place like any other: shards are written there whole and read from there by row-groups."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from stlm.errors import ConfigError, DataError
from stlm.feed.stream import FeedSource
from stlm.interleave.unimodal import Config, build
from stlm.store import Shard, ShardSet, ShardWriter
from stlm.store.place import files, new_file, place
from stlm.testing.factories import EXPRESSIVE_STREAMS, HUBERT, make_corpus, make_utterance, write_shards


@pytest.fixture(params=["local", "memory"])
def directory(request: pytest.FixtureRequest, tmp_path: Path, memory: str) -> Path:
    found = place(str(tmp_path / "shards") if request.param == "local" else memory)
    found.mkdir(parents=True)
    return found


def test_text_is_local_and_a_url_keeps_its_slashes(tmp_path: Path) -> None:
    assert place("runs/shards") == Path("runs/shards")
    assert place(f"file://{tmp_path}") == tmp_path
    where = place("memory://bucket/shards")
    assert str(where / "a.parquet") == "memory://bucket/shards/a.parquet"
    assert place(where) is where and place(tmp_path) is tmp_path


def test_an_unknown_scheme_says_so() -> None:
    with pytest.raises(ConfigError, match=r"memry://x: unknown scheme 'memry' \(did you mean 'memory'\?\)"):
        place("memry://x")


def test_a_missing_driver_says_what_to_install() -> None:
    fsspec.register_implementation("cloud", "not_there.Driver", clobber=True, errtxt="Install cloudfs")
    with pytest.raises(ConfigError, match="cloud://b/x: the package that reaches cloud:// is missing: Install cloudfs"):
        place("cloud://b/x")


def test_a_new_file_appears_whole_and_alone(directory: Path) -> None:
    target = directory / "a.txt"
    with new_file(target) as local:
        local.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and files(directory, "*") == [target]


def test_a_new_file_that_fails_leaves_what_was_there(directory: Path) -> None:
    target = directory / "a.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError, match="power"), new_file(target) as local:
        local.write_text("half")
        raise RuntimeError("power failure")
    assert target.read_text() == "before" and files(directory, "*") == [target]


def test_files_are_in_order_and_none_where_nothing_is(directory: Path) -> None:
    for name in ("b.json", "a.json", "c.parquet"):
        (directory / name).write_text("x")
    assert files(directory, "*.json") == [directory / "a.json", directory / "b.json"]
    assert files(directory / "none", "*") == []


def test_shards_at_a_url_are_those_on_disk(tmp_path: Path, memory: str) -> None:
    utterances = make_corpus(7, streams=EXPRESSIVE_STREAMS)
    here = write_shards(tmp_path, utterances, group_size=2)
    there = write_shards(place(memory), utterances, group_size=2)
    again = ShardSet(memory)
    for one, other in zip(here.shards, there.shards, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
    assert [item.id for item in again] == [item.id for item in here] and again.num_groups == here.num_groups
    for one, other in zip(here, again, strict=True):
        assert {name: units.codes.tolist() for name, units in one.streams.items()} == {
            name: units.codes.tolist() for name, units in other.streams.items()
        }


def test_training_knows_shards_by_their_content_wherever_they_are(tmp_path: Path, memory: str) -> None:
    utterances = make_corpus(4)
    described = [
        FeedSource(name="x", shards=write_shards(directory, utterances), interleaver=build(Config())).describe()
        for directory in (tmp_path, place(memory))
    ]
    assert described[0] == described[1]


def test_of_a_shard_far_away_only_the_row_group_is_fetched(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = write_shards(place(memory), make_corpus(200), num_shards=1, group_size=5)
    fetched: list[int] = []
    original = MemoryFile.read

    def spy(self: MemoryFile, size: int = -1) -> bytes:
        found = original(self, size)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(MemoryFile, "read", spy)
    assert len(shards.group(20)) == 5
    size = shards.shards[0].path.stat().st_size
    assert 0 < sum(fetched) < size / 20 and len(fetched) <= 4


class Unreachable(Exception):
    """What a driver raises need not be an OSError."""


def refuse(*arguments: object, **options: object) -> None:
    raise Unreachable("no credentials\nTraceback …")


def test_a_store_that_cannot_be_reached_is_one_line(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (shard,) = write_shards(place(memory), make_corpus(1), num_shards=1).shards
    monkeypatch.setattr(MemoryFileSystem, "put_file", refuse)
    with (
        pytest.raises(DataError, match=r"a.parquet: cannot be written \(no credentials\): check"),
        ShardWriter(f"{memory}/a.parquet", {"hubert": HUBERT}) as writer,
    ):
        writer.write(make_utterance(1))
    monkeypatch.setattr(MemoryFileSystem, "open", refuse)
    with pytest.raises(DataError, match=r"cannot be read as a Parquet shard \(no credentials\)"):
        Shard(shard.path)
    monkeypatch.setattr(MemoryFileSystem, "find", refuse)
    with pytest.raises(DataError, match=r"shards: cannot be listed \(no credentials\): check"):
        ShardSet(memory)
