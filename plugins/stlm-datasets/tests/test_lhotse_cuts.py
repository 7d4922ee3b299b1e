"""Cuts of lhotse: stretch, channel, text and words; what is more than a stretch of a file is listed."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stlm.audio import read_audio
from stlm.errors import ConfigError, DataError, PluginError
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance
from stlm_datasets.lhotse_cuts import Config, CutSource

lhotse = pytest.importorskip("lhotse", reason="needs stlm-datasets[lhotse]")


def spoken(text: str | None, start: float = 0.0, speaker: str = "A", words: list[tuple] = []) -> Any:  # noqa: B006
    items = [lhotse.supervision.AlignmentItem(*word) for word in words]
    return lhotse.SupervisionSegment(
        id=f"s{start}",
        recording_id="r",
        start=start,
        duration=0.2,
        channel=1,
        text=text,
        speaker=speaker,
        language="en",
        alignment={"word": items} if items else None,
    )


def cut(path: Path, id: str = "c", channel: int | list[int] = 1, **options: Any) -> Any:
    """0.25 to 0.75 s of one channel."""
    recording = options.pop("recording", None) or lhotse.Recording.from_file(path, recording_id="r")
    kind = lhotse.MonoCut if isinstance(channel, int) else lhotse.MultiCut
    fields = {
        "start": 0.25,
        "duration": 0.5,
        "channel": channel,
        "recording": recording,
        "supervisions": [spoken("Hi.")],
    }
    return kind(id=id, **(fields | options))


def read(path: Path, *cuts: Any) -> tuple[dict[str, Utterance], dict[str, Rejected]]:
    lines = [line if isinstance(line, str) else json.dumps(line.to_dict()) for line in cuts]
    path.write_text("\n".join(lines) + "\n")
    items = list(CutSource(Config(path=str(path))).utterances())
    return (
        {item.id: item for item in items if isinstance(item, Utterance)},
        {item.id: item for item in items if isinstance(item, Rejected)},
    )


class TestCuts(SourceContract):
    component = "lhotse"

    @pytest.fixture
    def source(self, tmp_path: Path, recording: Path) -> CutSource:
        cuts = [cut(recording, id=f"c{number}", channel=number % 2) for number in range(5)]
        lhotse.CutSet.from_cuts(cuts[:3]).to_file(tmp_path / "cuts-1.jsonl")
        lhotse.CutSet.from_cuts(cuts[3:]).to_file(tmp_path / "cuts-2.jsonl.gz")
        with (tmp_path / "cuts-1.jsonl").open("a") as file:
            file.write("{broken\n")
        return CutSource(Config(path=str(tmp_path)))


def test_a_cut_is_a_stretch_of_its_channel(tmp_path: Path, recording: Path, sides: np.ndarray) -> None:
    cuts = [cut(recording, "left", 0), cut(recording, "right", 1), cut(recording, "both", [0, 1])]
    used, rejected = read(tmp_path / "a.jsonl", *cuts)
    assert not rejected
    for id, expected in (("left", sides[:, 0]), ("right", sides[:, 1]), ("both", sides.mean(axis=1))):
        np.testing.assert_allclose(read_audio(used[id].audio).samples, expected[2000:6000], atol=1e-6)
    assert (used["left"].text, used["left"].speaker, dict(used["left"].labels)) == ("Hi.", "A", {"language": "en"})


def test_words_are_found_in_the_text_whatever_their_case(tmp_path: Path, recording: Path) -> None:
    words = [("", 0.0, 0.05), ("THAT'S", 0.05, 0.1, 0.9), ("A", 0.14, 0.05)]  # 10 ms of overlap are rounding
    later = [("CAT", 0.3, 0.205)]  # and so are 5 ms beyond the end
    supervisions = [spoken("a cat.", 0.2, words=later), spoken("That's", 0.0, words=words[:2])]
    supervisions[0].alignment["word"].insert(0, lhotse.supervision.AlignmentItem(*words[2]))
    used, rejected = read(tmp_path / "a.jsonl", cut(recording, supervisions=supervisions))
    assert not rejected and used["c"].text == "That's a cat."
    assert [(word.text, word.start, word.end, word.score) for word in used["c"].words] == [
        ("That's", 400, 1200, 0.9),
        ("a", 1200, 1520, None),
        ("cat", 2400, 4000, None),
    ]


def test_speakers_are_told_only_where_there_is_one(tmp_path: Path, recording: Path) -> None:
    supervisions = [spoken("yes", 0.0, "A"), spoken("no", 0.2, "B")]
    used, _ = read(tmp_path / "a.jsonl", cut(recording, supervisions=supervisions))
    assert used["c"].speaker is None and used["c"].text == "yes no"


def test_what_cannot_be_used_is_listed_and_the_others_arrive(tmp_path: Path, recording: Path) -> None:
    ran = tmp_path / "ran"
    command = lhotse.audio.AudioSource(type="command", channels=[0, 1], source=f"touch {ran}")
    source = lhotse.audio.AudioSource(type="file", channels=[0, 1], source=str(tmp_path / "gone.wav"))
    plain = {"id": "r", "sampling_rate": 8000, "num_samples": 8000, "duration": 1.0}
    cuts = [
        cut(recording, "good"),
        "{broken",
        json.dumps(
            {"id": "r", "sources": [], **{key: plain[key] for key in ("sampling_rate", "num_samples", "duration")}}
        ),
        cut(recording, "command", recording=lhotse.Recording(sources=[command], **plain)),
        cut(recording, "gone", recording=lhotse.Recording(sources=[source], **plain)),
        cut(recording, "faster").perturb_speed(1.1),
        cut(recording, "padded").pad(2.0),
        cut(recording, "long", duration=0.9),
        cut(recording, "silent", supervisions=[spoken(None)]),
        cut(recording, "wrong", supervisions=[spoken("Hi.", words=[("hello", 0.0, 0.1)])]),
        cut(recording, "good too"),
    ]
    used, rejected = read(tmp_path / "a.jsonl", *cuts)
    assert set(used) == {"good", "silent", "wrong", "good too"} and not ran.exists()
    reasons = {id: item.reason for id, item in rejected.items()}
    assert "is no cut (JSONDecodeError" in reasons["a.jsonl:2"] and "is a Recording" in reasons["r"]
    assert "command with channels [0, 1], expected one channel" in reasons["command"]
    assert "no such file" in reasons["gone"]
    assert "transforms the recording" in next(reason for id, reason in reasons.items() if "faster" in id)
    assert any("is a MixedCut, expected a cut of one recording" in reason for reason in reasons.values())
    assert "has 1.00 s at 8000 Hz, expected 1.15 s" in reasons["long"]
    assert rejected["silent"].kept_as == "speech without text"
    assert rejected["wrong"].kept_as == "utterance without word times" and "'hello' does not occur" in reasons["wrong"]


def test_paths_are_relative_to_the_root(tmp_path: Path, recording: Path) -> None:
    line = json.dumps(cut(recording).to_dict()).replace(str(recording), recording.name)
    (tmp_path / "cuts.jsonl").write_text(line)
    (found,) = CutSource(Config(path=str(tmp_path / "cuts.jsonl"), root=str(tmp_path))).utterances()
    assert isinstance(found, Utterance) and found.audio.uri == f"{recording}#channel=1"


def test_a_file_that_is_cut_off_gives_what_is_whole(tmp_path: Path, recording: Path) -> None:
    lines = b"".join(json.dumps(cut(recording, f"c{n}").to_dict()).encode() + b"\n" for n in range(300))
    (tmp_path / "cuts.jsonl.gz").write_bytes(gzip.compress(lines)[:-100])
    *items, last = CutSource(Config(path=str(tmp_path))).utterances()
    assert len(items) > 10 and all(isinstance(item, Utterance) for item in items)
    assert isinstance(last, Rejected) and "cannot be read further" in last.reason


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="needs path"):
        CutSource(Config())
    with pytest.raises(DataError, match="no cuts here"):
        CutSource(Config(path=str(tmp_path)))
    (tmp_path / "cuts.jsonl").touch()
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(PluginError, match=r"pip install 'stlm-datasets\[lhotse\]'"):
        CutSource(Config(path=str(tmp_path)))
