"""A corpus to shards: idempotent, atomic, and nothing that goes wrong with one file ends the run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.plugin import Choice
from stlm.prepare import Limits, LocalRunner, ShardTask, all_rejected, encode_utterances, prepare
from stlm.prepare.encode import prepare_shard
from stlm.prepare.plan import QUARANTINE
from stlm.store import ShardSet
from stlm.testing.contracts import RunnerContract
from stlm.testing.fakes import EnergyEncoder
from stlm.types import Audio, Rejected, Utterance

ONE = LocalRunner(num_workers=1)


@pytest.mark.slow
class TestLocalRunnerWithProcesses(RunnerContract):
    @pytest.fixture
    def runner(self):
        return LocalRunner(num_workers=2)


@pytest.fixture
def folder(tmp_path: Path, record) -> Path:
    """Six recordings: four good, one without text, one broken; one of the good is too short for a unit."""
    root = tmp_path / "corpus"
    for index in range(4):
        record(root / f"{index}.wav", 0.3 + 0.1 * index, seed=index).with_suffix(".txt").write_text(f"number {index}")
    record(root / "4-silent-film.wav")
    (root / "5-broken.wav").write_bytes(b"RIFF")
    record(root / "6-short.wav", 0.01).with_suffix(".txt").write_text("oh")
    return root


def task(source: Path, out: Path, *, num_shards: int = 2, **more) -> ShardTask:
    return ShardTask(
        source=Choice(name="folder", options={"path": str(source)}),
        encoders=more.pop("encoders", (Choice(name="energy"),)),
        out=out,
        shard=0,
        num_shards=num_shards,
        group_size=2,
        **more,
    )


def quarantine(out: Path) -> dict[str, dict]:
    return {row["id"]: row for row in map(json.loads, (out / QUARANTINE).read_text().splitlines())}


@pytest.mark.usefixtures("fakes")
def test_a_corpus_becomes_shards_with_units(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepared = prepare(task(folder, out), ONE)
    shards = ShardSet(out)
    found = {utterance.id: utterance for utterance in shards}
    assert set(found) == {"0", "1", "2", "3", "4-silent-film"}
    assert prepared.num_utterances == 5 and prepared.num_rejected == 2
    encoder = EnergyEncoder()
    for utterance in found.values():
        assert utterance.audio is not None
        assert len(utterance.streams["energy"]) == encoder.spec.num_frames(utterance.audio.num_samples)
    assert prepared.num_seconds == pytest.approx(0.3 + 0.4 + 0.5 + 0.6 + 0.5)
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        "shard-00000-of-00002.parquet",
        "shard-00001-of-00002.parquet",
    ]


@pytest.mark.usefixtures("fakes")
def test_what_could_not_be_used_is_listed_with_its_reason(folder: Path, tmp_path: Path) -> None:
    prepare(task(folder, tmp_path / "out"), ONE)
    found = quarantine(tmp_path / "out")
    assert set(found) == {"4-silent-film", "5-broken", "6-short"}
    assert (
        found["4-silent-film"]["kept_as"] == "speech without text" and "transcript" in found["4-silent-film"]["reason"]
    )
    assert found["5-broken"]["kept_as"] is None and "cannot be read as audio" in found["5-broken"]["reason"]
    assert "0.010 s of audio are too short" in found["6-short"]["reason"]


@pytest.mark.usefixtures("fakes")
def test_without_problems_there_is_no_quarantine(tmp_path: Path, record) -> None:
    record(tmp_path / "corpus" / "a.wav").with_suffix(".txt").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / QUARANTINE).write_text("{}\n")
    prepare(task(tmp_path / "corpus", tmp_path / "out", num_shards=1), ONE)
    assert not (tmp_path / "out" / QUARANTINE).exists()


@pytest.mark.usefixtures("fakes")
def test_preparing_again_does_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = prepare(task(folder, out), ONE)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("shard-*")}
    listed = (out / QUARANTINE).read_text()
    again = prepare(task(folder, out), ONE)
    assert all(report.was_done for report in again.reports) and not any(report.was_done for report in first.reports)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.glob("shard-*")} == before
    assert again.num_utterances == first.num_utterances and (out / QUARANTINE).read_text() == listed


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize(
    "changes",
    [
        {"encoders": (Choice(name="energy", options={"levels": 4}),)},
        {"encoders": ()},
        {"stages": (Choice(name="uppercase"),)},
        {"limits": Limits(utterances=3)},
    ],
)
def test_another_task_is_done_anew(folder: Path, tmp_path: Path, changes: dict) -> None:
    out = tmp_path / "out"
    prepare(task(folder, out), ONE)
    again = prepare(task(folder, out, **changes), ONE)
    assert not any(report.was_done for report in again.reports)


@pytest.mark.usefixtures("fakes")
def test_an_encoder_that_changed_at_its_place_encodes_anew(folder: Path, tmp_path: Path) -> None:
    """What "prepare the shards again" asks for."""
    out, saved = tmp_path / "out", tmp_path / "encoder"
    saved.mkdir()
    EnergyEncoder(levels=8).save(saved)
    choice = (Choice(name="energy", options={"path": str(saved)}),)
    prepare(task(folder, out, encoders=choice), ONE)
    EnergyEncoder(levels=4).save(saved)
    again = prepare(task(folder, out, encoders=choice), ONE)
    assert not any(report.was_done for report in again.reports)
    assert ShardSet(out).streams["energy"] == EnergyEncoder(levels=4).spec


@pytest.mark.usefixtures("fakes")
@pytest.mark.parametrize("damage", ["no report", "half a report", "no shard"])
def test_a_shard_that_was_not_finished_is_done_anew(folder: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    prepare(task(folder, out), ONE)
    report, shard = out / "shard-00001-of-00002.json", out / "shard-00001-of-00002.parquet"
    if damage == "no shard":
        shard.unlink()
    elif damage == "no report":
        report.unlink()
    else:
        report.write_text(report.read_text()[:40])
    again = prepare(task(folder, out), ONE)
    assert [item.was_done for item in again.reports] == [True, False]
    assert ShardSet(out).num_utterances == 5


@pytest.mark.usefixtures("fakes")
def test_one_job_of_an_array_does_its_own_shard(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (report,) = prepare(task(folder, out), ONE, shards=[1]).reports
    assert [path.name for path in out.glob("*.parquet")] == ["shard-00001-of-00002.parquet"]
    other = prepare_shard(task(folder, out))
    assert report.num_utterances + other.num_utterances == 5


@pytest.mark.usefixtures("fakes")
def test_another_division_into_shards_is_refused_beside_the_old_one(folder: Path, tmp_path: Path) -> None:
    """Both would be read as one corpus, every utterance twice."""
    out = tmp_path / "out"
    prepare(task(folder, out, num_shards=2), ONE)
    with pytest.raises(DataError, match=r"shard-00000-of-00002.parquet.*another division"):
        prepare(task(folder, out, num_shards=3), ONE)


@pytest.mark.usefixtures("fakes")
def test_stages_run_before_the_encoders(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(task(folder, out, stages=(Choice(name="uppercase"),)), ONE)
    assert {utterance.text for utterance in ShardSet(out)} == {"NUMBER 0", "NUMBER 1", "NUMBER 2", "NUMBER 3", None}


@pytest.mark.usefixtures("fakes")
def test_batches_and_shards_change_no_unit(folder: Path, tmp_path: Path) -> None:
    found = []
    for batch_size, num_shards in ((1, 1), (16, 3)):
        out = tmp_path / f"out-{num_shards}"
        prepare(task(folder, out, num_shards=num_shards, limits=Limits(utterances=batch_size)), ONE)
        found.append({item.id: item.streams["energy"].codes.tolist() for item in ShardSet(out)})
    assert found[0] == found[1]


@pytest.mark.usefixtures("fakes")
def test_a_corpus_of_which_nothing_can_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"no utterance could be used; the first reason: .*0 bytes"):
        prepare(task(tmp_path / "corpus", tmp_path / "out", num_shards=1), ONE)


@pytest.mark.usefixtures("fakes")
def test_text_that_no_shard_can_hold_is_listed(tmp_path: Path, record) -> None:
    """JSON can hold half of a surrogate pair, UTF-8 cannot."""
    record(tmp_path / "corpus" / "a.wav")
    rows = ['{"audio": "a.wav", "id": "bad", "text": "x\\ud800"}', '{"audio": "a.wav", "id": "good", "text": "x"}']
    (tmp_path / "corpus" / "manifest.jsonl").write_text("\n".join(rows))
    prepare(task(tmp_path / "corpus", tmp_path / "out", num_shards=1), ONE)
    assert [utterance.id for utterance in ShardSet(tmp_path / "out")] == ["good"]
    assert "surrogate" in quarantine(tmp_path / "out")["bad"]["reason"]


@pytest.mark.slow
def test_processes_give_what_this_process_gives(folder: Path, tmp_path: Path) -> None:
    """Other processes know only what is installed, so without the fakes."""
    for name, runner in (("one", ONE), ("two", LocalRunner(num_workers=2))):
        prepare(task(folder, tmp_path / name, encoders=()), runner)
    one, two = (sorted(utterance.id for utterance in ShardSet(tmp_path / name)) for name in ("one", "two"))
    assert one == two and len(one) == 6


class PickyEncoder(EnergyEncoder):
    """Refuses a whole batch for one bad sound, as an encoder may."""

    def encode(self, batch):
        for audio in batch:
            if not np.isfinite(audio.samples).all():
                raise DataError("audio holds NaN")
        return super().encode(batch)


def sound(value: float, samples: int = 3200) -> Audio:
    return Audio(samples=np.full(samples, value, np.float32), sample_rate=16000)


def test_one_sound_that_an_encoder_refuses_does_not_take_its_batch_with_it() -> None:
    batch = [Utterance(id=str(index), audio=sound(value)) for index, value in enumerate((0.1, np.nan, 0.2))]
    found = {item.id: item for item in encode_utterances(batch, [PickyEncoder()], Limits())}
    assert isinstance(found["1"], Rejected) and "NaN" in found["1"].reason
    for name in ("0", "2"):
        assert isinstance(found[name], Utterance)
        (alone,) = encode_utterances([replace(batch[int(name)])], [PickyEncoder()], Limits())
        assert isinstance(alone, Utterance)
        np.testing.assert_array_equal(found[name].streams["energy"].codes, alone.streams["energy"].codes)


def test_text_passes_through_beside_speech() -> None:
    batch = [Utterance(id="text", text="hello"), Utterance(id="sound", audio=sound(0.1))]
    found = {item.id: item for item in encode_utterances(batch, [EnergyEncoder()], Limits())}
    assert found["text"] is batch[0] and set(found["sound"].streams) == {"energy"}
    assert list(encode_utterances(batch, [], Limits())) == batch


@pytest.mark.usefixtures("fakes")
def test_mended_and_added_files_are_prepared_and_untouched_shards_reused(tmp_path: Path, record) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    record(corpus / "a.wav").with_suffix(".txt").write_text("a")
    (corpus / "b.wav").write_bytes(b"")
    prepared = prepare(task(corpus, out), ONE)
    assert (prepared.num_utterances, prepared.num_rejected, prepared.num_reused) == (1, 1, 0)
    record(corpus / "b.wav").with_suffix(".txt").write_text("b")
    again = prepare(task(corpus, out), ONE)
    assert (again.num_utterances, again.num_rejected, again.num_reused) == (2, 0, 1)
    assert not (out / QUARANTINE).exists()
    record(corpus / "c.wav").with_suffix(".txt").write_text("c")
    assert prepare(task(corpus, out), ONE).num_utterances == 3
    assert {utterance.id for utterance in ShardSet(out)} == {"a", "b", "c"}


@pytest.mark.usefixtures("fakes")
def test_inputs_used_in_part_are_counted_once(folder: Path, tmp_path: Path) -> None:
    record = '{"audio": "4-silent-film.wav", "words": [{"word": "x"}]}\n{"audio": "0.wav", "text": "x"}\n'
    (folder / "manifest.jsonl").write_text(record)
    prepared = prepare(task(folder, tmp_path / "out"), ONE)
    assert len(quarantine(tmp_path / "out")) == 1 and len(all_rejected(prepared.reports)) == 2
    assert (prepared.num_rejected, prepared.num_in_part) == (0, 1)


@pytest.mark.usefixtures("fakes")
def test_names_that_are_no_text_do_not_end_the_preparation(tmp_path: Path, record) -> None:
    record(tmp_path / "corpus" / "a.wav")
    rows = [
        '{"audio": "a.wav", "id": "x\\ud800"}',
        '{"audio": "a.wav", "id": "voice", "speaker": "\\udfff"}',
        '{"audio": "a.wav", "id": "good", "speaker": "s"}',
    ]
    (tmp_path / "corpus" / "manifest.jsonl").write_text("\n".join(rows))
    prepare(task(tmp_path / "corpus", tmp_path / "out", num_shards=1), ONE)
    assert [utterance.id for utterance in ShardSet(tmp_path / "out")] == ["good"]
    found = {name: row["reason"] for name, row in quarantine(tmp_path / "out").items() if not row["kept_as"]}
    assert "of the id is half of a surrogate pair" in found["x\ud800"]
    assert "of the speaker is half of a surrogate pair" in found["voice"]


@pytest.mark.usefixtures("fakes")
def test_a_damaged_report_of_another_job_does_not_end_this_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(task(folder, out), ONE)
    (out / "shard-00001-of-00002.json").write_text("{")
    assert prepare(task(folder, out), ONE, shards=[0]).num_reused == 1


@pytest.mark.usefixtures("fakes")
def test_parts_are_built_once_for_all_shards_of_a_run(folder: Path, tmp_path: Path, monkeypatch) -> None:
    built = []
    build = Choice.build
    monkeypatch.setattr(Choice, "build", lambda self, kind: built.append(self.name) or build(self, kind))
    for run in (1, 2):
        prepare(task(folder, tmp_path / f"out-{run}", num_shards=3), ONE)
        assert sorted(built) == ["energy", "folder"]
        built.clear()


@pytest.mark.usefixtures("fakes")
def test_what_a_killed_run_left_is_cleared_away(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    left = [out / ".shard-00000-of-00002.parquet.77.partial", out / ".quarantine.jsonl.77.partial"]
    for path in left:
        path.write_bytes(b"half")
    prepare(task(folder, out), ONE, shards=[0])
    assert all(path.exists() for path in left), "another job of the array may be writing it"
    prepare(task(folder, out), ONE)
    assert not any(path.exists() for path in left)


@pytest.mark.usefixtures("fakes")
def test_a_job_of_an_array_with_bad_inputs_alone_does_not_fail(tmp_path: Path, record) -> None:
    corpus = tmp_path / "corpus"
    record(corpus / "a.wav").with_suffix(".txt").write_text("a")
    (corpus / "b.wav").write_bytes(b"")
    prepared = prepare(task(corpus, tmp_path / "out"), ONE, shards=[1])
    assert (prepared.num_utterances, prepared.num_rejected) == (0, 1)
