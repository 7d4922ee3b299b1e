"""A thousand recordings, some bad in every way that corpora are: the others arrive, the bad ones are listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stlm.plugin import Choice
from stlm.prepare import QUARANTINE, LocalRunner, ShardTask, prepare
from stlm.store import ShardSet

RATE = 8000
NUM_GOOD = 1000


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = tmp_path / "corpus"
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(NUM_GOOD):
        soundfile.write(root / f"{index:04d}.wav", rng.normal(0, 0.1, 1000 + index).clip(-1, 1), RATE)
        (root / f"{index:04d}.txt").write_text(f"number {index}")
    noise = rng.normal(0, 0.1, RATE).astype(np.float32).clip(-1, 1)
    soundfile.write(root / "truncated.flac", noise, RATE)
    (root / "truncated.flac").write_bytes((root / "truncated.flac").read_bytes()[:3000])
    soundfile.write(root / "nan.wav", np.where(np.arange(RATE) == 77, np.nan, noise), RATE, subtype="FLOAT")
    (root / "nothing.wav").write_bytes(b"")
    soundfile.write(root / "no-samples.wav", noise[:0], RATE)
    (root / "text.wav").write_text("this is no sound")
    soundfile.write(root / "seven.wav", np.stack([noise] * 7, 1), RATE)
    with soundfile.SoundFile(root / "opera.flac", "w", RATE, 1) as file:
        for _ in range(3 * 60 + 1):
            file.write(np.zeros(60 * RATE, np.int16))
    soundfile.write(root / "latin.wav", noise, RATE)
    (root / "latin.txt").write_bytes("naïve".encode("latin-1"))
    for name in ("truncated", "nan", "nothing", "no-samples", "text", "seven", "opera"):
        (root / f"{name}.txt").write_text(name)
    return root


LOST = {
    "truncated": "truncated.flac",
    "nan": "sample 77 is nan",
    "nothing": "0 bytes",
    "no-samples": "no samples",
    "text": "cannot be read as audio",
    "seven": "has 7 channels, expected 1 or 2",
    "opera": "lasts 10860 s, expected at most 3600",
}


@pytest.mark.usefixtures("fakes")
def test_bad_files_are_listed_and_all_others_arrive(corpus: Path, tmp_path: Path) -> None:
    task = ShardTask(
        source=Choice(name="folder", options={"path": str(corpus)}),
        encoders=(Choice(name="energy"),),
        out=tmp_path / "out",
        shard=0,
        num_shards=3,
    )
    prepared = prepare(task, LocalRunner(num_workers=1))
    good = {f"{index:04d}" for index in range(NUM_GOOD)}
    arrived = [utterance.id for utterance in ShardSet(tmp_path / "out")]
    assert len(arrived) == len(set(arrived)) and set(arrived) == good | {"latin"}
    listed = {row["id"]: row for row in map(json.loads, (tmp_path / "out" / QUARANTINE).read_text().splitlines())}
    assert set(listed) == {*LOST, "latin"} and prepared.num_rejected == len(LOST) and prepared.num_in_part == 1
    for name, reason in LOST.items():
        assert reason in listed[name]["reason"] and listed[name]["uri"].startswith(str(corpus / name))
        assert "\n" not in listed[name]["reason"]
    assert listed["latin"]["kept_as"] == "speech without text" and "is no UTF-8" in listed["latin"]["reason"]
