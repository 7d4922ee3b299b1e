"""What is written is read back; what cannot be read says why."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stlm.errors import DataError, FormatError
from stlm.store import Shard, ShardSet, ShardWriter
from stlm.store.schema import META_KEY
from stlm.testing.factories import (
    BASE_STREAMS,
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    HUBERT,
    PITCH,
    STYLE,
    base_codec,
    make_corpus,
    make_spec,
    make_units,
    make_utterance,
    write_shards,
)
from stlm.testing.fakes import ByteText
from stlm.types import AudioRef, StreamSpec, Utterance


def write(
    path: Path, utterances: Sequence[Utterance], streams: Sequence[StreamSpec] = BASE_STREAMS, **options: Any
) -> Shard:
    with ShardWriter(path, {spec.name: spec for spec in streams}, **options) as writer:
        for utterance in utterances:
            writer.write(utterance)
    return Shard(path)


def on_file(utterance: Utterance) -> Utterance:
    """With its audio in a file, as preparation has it; samples in memory are not stored."""
    assert utterance.audio is not None and not isinstance(utterance.audio, AudioRef)
    ref = AudioRef(
        uri=f"/data/{utterance.id}.flac", sample_rate=16000, num_samples=utterance.audio.num_samples, start=7
    )
    return replace(utterance, audio=ref)


def shown(utterance: Utterance) -> tuple[object, ...]:
    streams = {name: (units.spec, units.codes.tolist()) for name, units in utterance.streams.items()}
    text_units = utterance.text_units
    ids = (
        None
        if text_units is None
        else (text_units.ids.tolist(), text_units.char_offsets.tolist(), text_units.fingerprint)
    )
    plain = (utterance.id, utterance.audio, utterance.text, utterance.words, utterance.speaker)
    return (*plain, dict(utterance.labels), dict(utterance.meta), streams, ids)


@pytest.mark.parametrize(
    "streams", [BASE_STREAMS, EXPRESSIVE_STREAMS, CODEBOOK_STREAMS], ids=["one", "three", "codebooks"]
)
def test_utterances_survive_the_shard(tmp_path: Path, streams: Sequence[StreamSpec]) -> None:
    utterances = [on_file(utterance) for utterance in make_corpus(7, seed=3, streams=streams)]
    utterances[1] = replace(utterances[1], labels={"emotion": "happy"}, meta={"source": "tapes", "take": "2"})
    utterances[2] = replace(utterances[2], words=tuple(replace(word, score=0.5) for word in utterances[2].words))
    shard = write(tmp_path / "a.parquet", utterances, streams, group_size=3)
    assert [shown(utterance) for utterance in shard] == [shown(utterance) for utterance in utterances]
    for utterance in shard:
        for units in utterance.streams.values():
            assert units.codes.dtype == np.uint16 and units.codes.ndim == 2
            assert units.start == 0 and units.held is None


def test_text_alone_speech_alone_and_both_share_a_shard(tmp_path: Path) -> None:
    utterances = [
        make_utterance(1, streams=()),
        on_file(make_utterance(2, with_text=False)),
        on_file(make_utterance(3)),
        Utterance(id="empty text", text=""),
        make_utterance(4, streams=()),
    ]
    shard = write(tmp_path / "a.parquet", utterances, group_size=2)
    assert [shown(utterance) for utterance in shard] == [shown(utterance) for utterance in utterances]
    assert [utterance.has_speech for utterance in shard] == [False, True, True, False, False]


def test_a_shard_of_text_needs_no_stream(tmp_path: Path) -> None:
    utterances = make_corpus(3, streams=())
    shard = write(tmp_path / "a.parquet", utterances, ())
    assert [utterance.text for utterance in shard] == [utterance.text for utterance in utterances]


def test_text_encoded_beforehand_comes_back_with_its_tokenizer(tmp_path: Path) -> None:
    codec = base_codec()
    utterances = [
        replace(utterance, text_units=codec.encode_text(utterance.text or ""))
        for utterance in make_corpus(4, streams=())
    ]
    utterances[2] = replace(utterances[2], text_units=None)
    shard = write(tmp_path / "a.parquet", utterances, (), text_fingerprint=ByteText().fingerprint)
    assert [shown(utterance) for utterance in shard] == [shown(utterance) for utterance in utterances]
    assert shard.text_fingerprint == ByteText().fingerprint


def test_audio_in_memory_leaves_its_length(tmp_path: Path) -> None:
    utterance = make_utterance(1)
    assert utterance.audio is not None
    (again,) = write(tmp_path / "a.parquet", [utterance])
    assert again.audio == AudioRef(uri="", sample_rate=16000, num_samples=utterance.audio.num_samples)


def test_groups_hold_as_many_rows_as_asked(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.parquet", make_corpus(8), group_size=3)
    assert [len(shard.group(index)) for index in range(shard.num_groups)] == [3, 3, 2]
    assert shard.num_utterances == 8
    last = shard.group(1).utterance(2)
    assert last.id == make_corpus(8)[5].id


def test_an_empty_shard_is_a_shard(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.parquet", [])
    assert shard.num_groups == 0 and list(shard) == []


def test_a_shard_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with ShardWriter(path, {"hubert": HUBERT}, group_size=2) as writer:
        for utterance in make_corpus(5):
            writer.write(utterance)
        assert not list(tmp_path.glob("*.parquet"))
    assert [found.name for found in tmp_path.iterdir()] == ["a.parquet"]


def test_a_failed_shard_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(2))
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="power"), ShardWriter(path, {"hubert": HUBERT}, group_size=1) as writer:
        writer.write(make_utterance(9))
        raise RuntimeError("power failure")
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_shard_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow converts rows only when a group is full, here when the shard is closed."""

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "a.parquet", make_corpus(2))
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_text_is_named_with_its_utterance(tmp_path: Path) -> None:
    """JSON can hold half of a surrogate pair."""
    with pytest.raises(DataError, match="u7: character 4 of the text is half of a surrogate pair"):
        write(tmp_path / "a.parquet", [Utterance(id="u7", text="bad \ud800 text")], ())


def test_units_of_another_encoder_are_not_written(tmp_path: Path) -> None:
    other = make_spec("hubert", size=501, seed=1)
    with pytest.raises(
        FormatError, match=f"utterance-1.*{other.fingerprint[:12]}, this shard holds {HUBERT.fingerprint[:12]}"
    ):
        write(tmp_path / "a.parquet", [make_utterance(1, streams=(other,))])


def test_an_utterance_has_all_streams_or_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"utterance-1: no stream 'pitch', only \['hubert'\]"):
        write(tmp_path / "a.parquet", [make_utterance(1)], (HUBERT, PITCH))


def test_text_ids_of_another_tokenizer_are_not_written(tmp_path: Path) -> None:
    utterance = replace(make_utterance(1, streams=()), text_units=base_codec().encode_text("x"))
    with pytest.raises(FormatError, match="another tokenizer"):
        write(tmp_path / "a.parquet", [utterance], (), text_fingerprint="other")


def test_what_is_no_shard_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(FormatError, match=r"a.parquet: not a stlm shard.*stlm prepare"):
        Shard(path)
    path.write_bytes(b"this is no parquet file")
    with pytest.raises(DataError, match=r"a.parquet: cannot be read as a Parquet shard"):
        Shard(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        Shard(path)


def test_a_truncated_shard_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(4))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"a.parquet: cannot be read"):
        Shard(path)


def test_a_shard_damaged_in_the_middle_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(4))
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a.parquet"):
        list(Shard(path))


@pytest.mark.parametrize("column", ["text", "word_start.list.element", "units.hubert.list.element"])
def test_a_flipped_bit_never_becomes_another_value(tmp_path: Path, column: str) -> None:
    """Many would decompress without a complaint, were there no checksums."""
    path = tmp_path / "a.parquet"
    write(path, make_corpus(4))
    data = pq.ParquetFile(path).metadata.row_group(0)
    chunk = next(found for index in range(data.num_columns) if (found := data.column(index)).path_in_schema == column)
    content = bytearray(path.read_bytes())
    content[chunk.dictionary_page_offset + chunk.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a.parquet: row-group 0 is damaged .*: delete the shard and prepare again"):
        list(Shard(path))


def test_a_closed_shard_knows_its_hash(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "a.parquet", {"hubert": HUBERT}) as writer:
        writer.write(make_utterance(1))
    assert writer.sha256 == hashlib.sha256((tmp_path / "a.parquet").read_bytes()).hexdigest()


def test_a_shard_of_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(1))
    table = pq.read_table(path)
    changed = table.schema.metadata[META_KEY].replace(b'"version": 1', b'"version": 99')
    pq.write_table(table.replace_schema_metadata({META_KEY: changed}), path)
    with pytest.raises(FormatError, match="shard version 99, this stlm reads 1"):
        Shard(path)


def test_a_stream_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", make_corpus(1))
    with pytest.raises(FormatError, match=r"no stream 'pitch', the shard holds \['hubert'\]"):
        Shard(tmp_path / "a.parquet", ["pitch"])


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The columns of each row-group that is read from now on."""
    seen: list[set[str]] = []
    original = pq.ParquetFile.read_row_group

    def spy(self: pq.ParquetFile, index: int, columns: Sequence[str] | None = None, **options: Any) -> pa.Table:
        table = original(self, index, columns=columns, **options)
        seen.append(set(table.column_names))
        return table

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    return seen


def test_a_base_model_never_reads_the_pitch_column(tmp_path: Path, columns: list[set[str]]) -> None:
    write(tmp_path / "a.parquet", make_corpus(3, streams=EXPRESSIVE_STREAMS), EXPRESSIVE_STREAMS)
    for utterance in Shard(tmp_path / "a.parquet", ["hubert"]):
        assert set(utterance.streams) == {"hubert"}
    assert columns and "units.hubert" in columns[0]
    assert not any({"units.pitch", "units.style"} & found for found in columns)


def test_fields_that_nobody_looks_at_are_not_read(tmp_path: Path, columns: list[set[str]]) -> None:
    utterances = make_corpus(3)
    write(tmp_path / "a.parquet", utterances)
    found = Shard(tmp_path / "a.parquet").group(0, frozenset({"text"})).utterance(1)
    assert found == Utterance(id=utterances[1].id, text=utterances[1].text)
    assert columns == [{"id", "text"}]
    found = Shard(tmp_path / "a.parquet").group(0, frozenset({"streams"})).utterance(1)
    assert found.text is None and not found.words and set(found.streams) == {"hubert"}


def test_a_directory_of_shards_is_one_set_in_order_of_name(tmp_path: Path) -> None:
    utterances = make_corpus(9)
    shards = write_shards(tmp_path, utterances, num_shards=3, group_size=2)
    assert [utterance.id for utterance in shards] == [utterances[i].id for i in (0, 3, 6, 1, 4, 7, 2, 5, 8)]
    assert shards.num_utterances == 9 and shards.num_groups == 6
    ids = [shards.group(g).utterance(row).id for g in range(6) for row in range(len(shards.group(g)))]
    assert ids == [utterance.id for utterance in shards]
    assert shards.streams == {"hubert": HUBERT}


def test_shards_of_different_encoders_are_no_set(tmp_path: Path) -> None:
    other = make_spec("hubert", size=501, seed=1)
    write(tmp_path / "a.parquet", [make_utterance(1)])
    write(tmp_path / "b.parquet", [make_utterance(1, streams=(other,))], (other,))
    with pytest.raises(
        FormatError, match=f"b.parquet: stream 'hubert'.*{other.fingerprint[:12]}.*{HUBERT.fingerprint[:12]}"
    ):
        ShardSet(tmp_path)
    write(tmp_path / "b.parquet", [make_utterance(1, streams=(PITCH,))], (PITCH,))
    with pytest.raises(FormatError, match="stream 'hubert' has fingerprint none"):
        ShardSet(tmp_path)


def test_a_set_is_checked_against_the_encoders_in_use(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, make_corpus(2, streams=EXPRESSIVE_STREAMS))
    shards.check_streams({"style": STYLE, "pitch": PITCH, "hubert": HUBERT})
    shards.check_streams({})
    with pytest.raises(FormatError, match=r"stream 'pitch'.*prepare the shards again"):
        shards.check_streams({"pitch": make_spec("pitch", size=64, hop=1280, seed=1)})


def test_a_directory_without_shards_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*.parquet shard here.*stlm prepare"):
        ShardSet(tmp_path)


def test_a_long_utterance_fits_a_row(tmp_path: Path) -> None:
    units = make_units(HUBERT, 100_000, np.random.default_rng(0))
    utterance = Utterance(id="long", streams={"hubert": units})
    (again,) = write(tmp_path / "a.parquet", [utterance])
    np.testing.assert_array_equal(again.streams["hubert"].codes, units.codes)


@pytest.mark.parametrize("field", ["id", "speaker", "uri", "word"])
def test_every_string_must_be_text(tmp_path: Path, field: str) -> None:
    good, bad = on_file(make_utterance(1)), "x\ud800"
    made = {
        "id": lambda: replace(good, id=bad),
        "speaker": lambda: replace(good, speaker=bad),
        "uri": lambda: replace(good, audio=replace(good.audio, uri=bad)),
        "word": lambda: replace(good, words=(replace(good.words[0], text=bad), *good.words[1:])),
    }[field]()
    with ShardWriter(tmp_path / "a.parquet", {"hubert": HUBERT}) as writer:
        with pytest.raises(DataError, match=r"character 1 of the .* is half of a surrogate pair") as caught:
            writer.write(made)
        str(caught.value).encode()
        writer.write(good)
    assert [utterance.id for utterance in Shard(tmp_path / "a.parquet")] == [good.id]


DAMAGES = {
    "half of it": lambda meta: meta[:9],
    "empty": lambda meta: b"{}",
    "a list": lambda meta: b"[]",
    "no bytes of text": lambda meta: b"\xff",
    "no streams": lambda meta: meta.replace(b'"streams"', b'"brooks"'),
    "unknown key": lambda meta: meta.replace(b'"hop"', b'"hope"'),
    "streams are a list": lambda meta: b'{"version": 1, "streams": [1], "text_fingerprint": null}',
    "another column": lambda meta: meta.replace(b'{"hubert"', b'{"humbert"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_shard_whose_description_is_damaged_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(1))
    table = pq.read_table(path)
    changed = DAMAGES[damage](table.schema.metadata[META_KEY])
    pq.write_table(table.replace_schema_metadata({META_KEY: changed}), path)
    with pytest.raises(FormatError, match=r"a.parquet: .*prepare it again"):
        Shard(path)


def test_a_shard_without_a_column_names_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, make_corpus(1))
    pq.write_table(pq.read_table(path).drop_columns(["speaker"]), path)
    with pytest.raises(FormatError, match=r"a.parquet: column 'speaker' is missing"):
        Shard(path)
