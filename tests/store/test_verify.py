"""Every way in which shards can differ from what preparation promised is found, and told with the shard's name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stlm.audio import resample
from stlm.errors import DataError
from stlm.store.place import place
from stlm.store.verify import verify
from stlm.testing.factories import (
    CODEBOOK_STREAMS,
    EXPRESSIVE_STREAMS,
    HUBERT,
    make_corpus,
    make_spec,
    make_units,
    make_utterance,
    write_shards,
)
from stlm.types import Audio, AudioRef, Utterance

GROUP = 4


def write(directory: Path, utterances: Sequence[Utterance], num_shards: int = 3) -> list[Path]:
    """Shards with the reports that preparation writes beside them."""
    shards = write_shards(directory, utterances, num_shards=num_shards, group_size=GROUP).shards
    for shard in shards:
        report(shard.path, shard.num_utterances)
    return [shard.path for shard in shards]


def report(path: Path, num_utterances: int) -> None:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({"num_utterances": num_utterances, "sha256": sha256}))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write(tmp_path, make_corpus(30))


def rewrite(path: Path, column: str, change: Callable[[list], list]) -> None:
    """A shard with other values in one column, and a report that fits it."""
    table = pq.read_table(path)
    at = table.schema.get_field_index(column)
    values = pa.array(change(table.column(column).to_pylist()), table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), values), path, row_group_size=GROUP)
    report(path, table.num_rows)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("streams", [(), EXPRESSIVE_STREAMS, CODEBOOK_STREAMS], ids=["text", "three", "codebooks"])
def test_what_preparation_writes_is_sound(tmp_path: Path, streams: Sequence) -> None:
    utterances = [
        *make_corpus(10, streams=streams),
        *make_corpus(2, seed=5, streams=()),
        make_utterance(77, streams=()),
    ]
    write(tmp_path, utterances)
    assert list(verify(tmp_path)) == []


def test_shards_at_a_url_are_verified_there(memory: str) -> None:
    paths = write(place(memory), make_corpus(9))
    assert list(verify(memory)) == []
    paths[1].unlink()
    assert list(verify(memory)) == [f"{paths[1]}: is missing: prepare again"]


def test_a_directory_without_shards_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \*.parquet shard here"):
        list(verify(tmp_path))


def test_a_truncated_shard_is_named_with_how_to_mend_it(paths: list[Path]) -> None:
    paths[1].write_bytes(paths[1].read_bytes()[:-100])
    told = "its bytes are not those that were written: delete it and prepare again"
    assert list(verify(paths[0].parent)) == [f"{paths[1]}: {told}"]
    paths[1].with_suffix(".json").write_text('{"num_utterances": 10}')  # of a preparation that noted no hash
    (fault,) = verify(paths[0].parent)
    assert fault.startswith(f"{paths[1]}: cannot be read") and fault.endswith("delete it and prepare again")


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_one_flipped_bit_is_found_wherever_it_is(paths: list[Path], share: float) -> None:
    flip(paths[2], int(share * paths[2].stat().st_size))
    (fault,) = verify(paths[0].parent)
    assert fault.startswith(f"{paths[2]}: its bytes are not those")


def test_the_rest_of_a_damaged_shard_is_verified_too(paths: list[Path]) -> None:
    data = pq.ParquetFile(paths[0]).metadata
    for group in (0, 2):
        column = data.row_group(group).column(0)
        flip(paths[0], column.dictionary_page_offset + column.total_compressed_size - 1)
    report(paths[0], 10)
    first, second = verify(paths[0].parent)
    assert first.startswith(f"{paths[0]}: row-group 0 is damaged")
    assert second.startswith(f"{paths[0]}: row-group 2 is damaged")


def test_a_missing_shard_is_named_by_the_others_and_by_its_report(paths: list[Path]) -> None:
    paths[1].unlink()
    assert list(verify(paths[0].parent)) == [f"{paths[1]}: is missing: prepare again"]
    assert list(verify(paths[0].parent, parts=[0, 2])) == []


def test_shards_of_two_divisions_are_found(paths: list[Path]) -> None:
    shutil.copy(paths[0], paths[0].with_name("shard-00000-of-00001.parquet"))
    faults = list(verify(paths[0].parent))
    assert any("holds shards of divisions into 1 and 3, expected one" in fault for fault in faults)


def test_a_duplicated_shard_is_named_with_its_double(paths: list[Path]) -> None:
    shutil.copy(paths[0], paths[2])
    shutil.copy(paths[0].with_suffix(".json"), paths[2].with_suffix(".json"))
    (fault,) = verify(paths[0].parent)
    first = make_corpus(30)[0].id
    assert fault.startswith(f"{paths[2]}: holds 10 ids that are in {paths[0].name} already, such as {first!r}: delete")


def test_an_id_that_occurs_twice_in_one_shard_is_found(tmp_path: Path) -> None:
    write(tmp_path, [make_utterance(1), make_utterance(2), make_utterance(1)], num_shards=1)
    (fault,) = verify(tmp_path)
    assert "holds 1 ids that are in shard-00000-of-00001.parquet already, such as 'utterance-1'" in fault


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"num_utterances": 11}', "holds 10 utterances, its report says 11: delete it and prepare again"),
        ("{", "cannot be read as the report of its shard (JSONDecodeError): prepare again"),
        ("{}", "cannot be read as the report of its shard (KeyError): prepare again"),
        (None, "cannot be read as the report of its shard (FileNotFoundError): prepare again"),
    ],
)
def test_a_shard_and_its_report_must_agree(paths: list[Path], content: str | None, told: str) -> None:
    beside = paths[1].with_suffix(".json")
    beside.unlink()
    if content is not None:
        beside.write_text(content)
    (fault,) = verify(paths[0].parent)
    assert fault.endswith(told)


def test_a_code_outside_its_codebook_is_found(tmp_path: Path) -> None:
    bad = make_units(make_spec("hubert", size=60000), 50, np.random.default_rng(0))
    (path,) = write(tmp_path, make_corpus(6), num_shards=1)
    rewrite(path, "units.hubert", lambda rows: [*rows[:2], bad.codes[: len(rows[2])].ravel().tolist(), *rows[3:]])
    faults = [fault for fault in verify(tmp_path) if "is outside 0..500" in fault]
    assert len(faults) == 1 and "utterance-2: stream 'hubert', codebook 0: code" in faults[0]


@pytest.mark.parametrize("change", [-1, 1])
def test_a_stream_has_the_length_that_its_encoder_promises(tmp_path: Path, change: int) -> None:
    utterance = make_utterance(3, streams=EXPRESSIVE_STREAMS)
    assert utterance.audio is not None
    frames = HUBERT.num_frames(utterance.audio.num_samples)
    units = make_units(HUBERT, frames + change, np.random.default_rng(0))
    write(tmp_path, [utterance.with_streams({"hubert": units})], num_shards=1)
    (fault,) = verify(tmp_path)
    assert f"utterance-3: stream 'hubert' has {frames + change} frames, expected {frames} for " in fault


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampled_sound_is_held_to_what_resampling_gives(tmp_path: Path, rate: int) -> None:
    rng = np.random.default_rng(rate)
    spec = make_spec("hubert", size=501, hop=1)  # a frame a sample: any difference in length shows
    utterances = []
    for index, samples in enumerate(rng.integers(1000, 9000, size=40).tolist()):
        audio = Audio(samples=np.zeros(samples, np.float32), sample_rate=rate)
        units = make_units(spec, spec.num_frames(resample(audio, spec.sample_rate).num_samples), rng)
        utterances.append(Utterance(id=str(index), audio=audio, streams={"hubert": units}))
    long = replace(utterances[7], streams={"hubert": make_units(spec, len(utterances[7].streams["hubert"]) + 3, rng)})
    write(tmp_path / "sound", utterances)
    write(tmp_path / "long", [*utterances[:7], long, *utterances[8:]])
    assert list(verify(tmp_path / "sound")) == []
    (fault,) = verify(tmp_path / "long")
    assert ": 7: stream 'hubert' has" in fault


def test_units_without_sound_have_any_length(tmp_path: Path) -> None:
    write(tmp_path, [Utterance(id="x", streams={"hubert": make_units(HUBERT, 9, np.random.default_rng(0))})], 1)
    assert list(verify(tmp_path)) == []


def test_frames_that_lack_a_codebook_are_found(tmp_path: Path) -> None:
    (path,) = write(tmp_path, make_corpus(3, streams=CODEBOOK_STREAMS), num_shards=1)
    rewrite(path, "units.mimi", lambda rows: [rows[0], rows[1][:-1], rows[2]])
    (fault,) = verify(tmp_path)
    assert fault.startswith(f"{path}: utterance-1: ") and "reshape" in fault


def test_a_row_that_lost_one_of_its_streams_is_found(tmp_path: Path) -> None:
    (path,) = write(tmp_path, make_corpus(3, streams=EXPRESSIVE_STREAMS), num_shards=1)
    rewrite(path, "units.pitch", lambda rows: [rows[0], None, rows[2]])
    (fault,) = verify(tmp_path)
    assert "utterance-1: has the streams ['hubert', 'style'], expected all of ['hubert', 'pitch', 'style']" in fault


WORD_FAULTS = {
    "beyond the audio": ("word_end", lambda rows: [[*rows[0][:-1], 10**9], *rows[1:]], "expected an interval within"),
    "out of order": ("word_start", lambda rows: [[rows[0][0], 0, *rows[0][2:]], *rows[1:]], "before the previous word"),
    "beyond the text": ("word_char_end", lambda rows: [[*rows[0][:-1], 9999], *rows[1:]], "points at characters"),
}


@pytest.mark.parametrize("fault", WORD_FAULTS)
def test_word_times_that_cannot_be_right_are_found(tmp_path: Path, fault: str) -> None:
    column, change, told = WORD_FAULTS[fault]
    (path,) = write(tmp_path, make_corpus(6), num_shards=1)
    rewrite(path, column, change)
    (found,) = verify(tmp_path)
    assert found.startswith(f"{path}: utterance-0: word ") and told in found


def test_shards_of_two_encoders_are_found(tmp_path: Path) -> None:
    paths = write(tmp_path, make_corpus(4), num_shards=2)
    other = make_spec("hubert", size=501, seed=1)
    write(tmp_path / "other", make_corpus(4, seed=9, streams=(other,)), num_shards=2)
    shutil.copy(tmp_path / "other" / paths[1].name, paths[1])
    report(paths[1], 2)
    (fault,) = verify(tmp_path)
    assert f"{paths[1]}: stream 'hubert' has fingerprint {other.fingerprint[:12]}, {paths[0].name} has" in fault


def test_every_fault_is_listed(tmp_path: Path) -> None:
    paths = write(tmp_path, make_corpus(30), num_shards=5)
    paths[0].write_bytes(b"")
    paths[1].unlink()
    shutil.copy(paths[2], paths[3])
    report(paths[3], 6)
    rewrite(paths[4], "audio_num_samples", lambda rows: [1] * len(rows))
    faults = list(verify(tmp_path))
    assert [len([fault for fault in faults if fault.startswith(f"{path}: ")]) for path in paths] == [1, 1, 0, 1, 6]


def test_an_utterance_may_reference_its_audio_or_hold_it(tmp_path: Path) -> None:
    utterance = make_utterance(1)
    assert utterance.audio is not None
    ref = AudioRef(uri="a.flac", sample_rate=16000, num_samples=utterance.audio.num_samples, start=70000)
    write(tmp_path, [utterance, replace(utterance, id="ref", audio=ref)], num_shards=1)
    assert list(verify(tmp_path)) == []
