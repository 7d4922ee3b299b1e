"""The command line: instant help, one line for bad input, and each verb on a tiny system."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stlm.checkpoint import save_system
from stlm.cli import VERBS, _parse, main, parser
from stlm.cli.prepare import parse_shard
from stlm.cli.train import corpora_table
from stlm.config.build import build_component, build_system
from stlm.config.hydra import load_config
from stlm.config.schema import TrainConfig
from stlm.errors import ConfigError
from stlm.lightning.data import CorpusAccount
from stlm.lightning.fit import FitReport
from stlm.types import Audio

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"
FORMAT = "{name: logmel, path: %s}"


@pytest.fixture(scope="module")
def run_directory(system_overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained but complete system of real plugins."""
    root = tmp_path_factory.mktemp("system")
    config = load_config("train", TrainConfig, system_overrides)
    save_system(build_system(config), root / "run")
    return root / "run"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    source = build_component("source", {"name": "windtunnel", "num": 1, "kind": "sentences"})
    utterance = next(iter(source.utterances()))
    utterance.audio.save(tmp_path / "a.wav")
    return tmp_path / "a.wav"


def test_help_imports_no_torch() -> None:
    code = "import sys\nfrom stlm.cli import parser\nparser().format_help()\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_option_of_every_verb_is_in_the_docs() -> None:
    text = DOCS.read_text()
    verbs = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert tuple(verbs.choices) == VERBS
    for name, verb in verbs.choices.items():
        assert f"## stlm {name}" in text
        for action in verb._actions:
            for option in action.option_strings:
                assert option in text, f"{name} {option}: run python docs/_commands.py"


def test_bad_input_is_one_line_and_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "minuts=3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "did you mean 'minutes'" in error


def test_missing_run_directory_says_how_to_get_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["generate", str(tmp_path), "--text", "hi"]) == 2
    assert "no run directory" in capsys.readouterr().err


def test_plugins_lists_every_first_party_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json"]) == 0
    found = {item["dist"]: item for item in json.loads(capsys.readouterr().out)}
    assert {"stlm", "stlm-bpe", "stlm-llama", "stlm-logmel", "stlm-windtunnel"} <= set(found)
    assert all(item["error"] is None for item in found.values())


def test_doctor_finds_nothing_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "doctor"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("form", ["string", "json", "npz"])
def test_encode_then_decode_speaks_the_same_units(
    form: str, run_directory: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = tmp_path / f"units.{'npz' if form == 'npz' else 'txt'}"
    assert main(["encode", str(recording), "--system", str(run_directory), "--as", form, "--out", str(units)]) == 0
    wav = tmp_path / "out.wav"
    assert main(["decode", str(units), "--system", str(run_directory), "--out", str(wav)]) == 0, capsys.readouterr().err
    assert wav.stat().st_size > 1000


def test_decode_of_text_that_is_no_unit_string_shows_what_units_look_like(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["decode", "[Hu3]", "--system", str(run_directory), "--out", str(tmp_path / "a.wav")]) == 2
    assert "units look like '[U0]'" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["text", "speech", "any"])
def test_generate_streams_what_it_writes_at_once(
    to: str, run_directory: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = ["generate", str(run_directory), "--text", "The doctor", "--speech", str(recording), "--to", to]
    assert main([*prompt, "--max-new-tokens", "12", "--out", str(tmp_path)]) == 0
    whole = capsys.readouterr().out
    assert main([*prompt, "--max-new-tokens", "12", "--stream"]) == 0
    streamed = capsys.readouterr().out
    if to != "any":
        assert streamed.strip() == whole.split(str(tmp_path))[0].strip()


def test_evaluate_writes_results_and_items(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = "tasks=[{name: windtunnel_cloze, num_pairs: 2}]"
    assert main(["evaluate", str(run_directory), tasks, f"out={tmp_path}"]) == 0, capsys.readouterr().err
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["tasks"]["windtunnel_cloze"]) == {"T->T", "T->S", "S->T", "S->S"}
    assert len((tmp_path / "items.jsonl").read_text().splitlines()) == 16


def test_prepare_and_inspect_a_folder_with_a_broken_file(
    run_directory: Path, tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("hello there")
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    Audio(samples=np.zeros(0, np.float32), sample_rate=16000).save(tmp_path / "empty.wav")
    encoder = FORMAT % (run_directory / "encoders" / "logmel")
    out = tmp_path / "shards"
    arguments = ["prepare", "source=folder", f"source.path={tmp_path}", f"unit_encoders=[{encoder}]", f"out={out}"]
    assert main([*arguments, "num_shards=1", "--verify"]) == 0, capsys.readouterr().err
    reasons = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert {item["id"] for item in reasons} == {"broken", "empty"}
    assert main(["inspect", str(out)]) == 0
    assert "1 utterances" in capsys.readouterr().out
    assert main(["inspect", str(run_directory)]) == 0
    assert "stlm-logmel/logmel" in capsys.readouterr().out


def test_shard_option_is_checked() -> None:
    assert parse_shard("3/8") == (3, 8)
    for text in ("8/8", "3", "a/b", "-1/2"):
        with pytest.raises(ConfigError, match="I/N"):
            parse_shard(text)


def test_changed_format_file_is_refused(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run_directory, copy)
    text = (copy / "format.yaml").read_text()
    (copy / "format.yaml").write_text(text.replace("rate_hz: 25.0", "rate_hz: 24.99"))
    assert main(["generate", str(copy), "--text", "hi"]) == 2
    assert "format.yaml was changed after training" in capsys.readouterr().err


@pytest.fixture
def short(tmp_path: Path) -> Path:
    Audio(samples=np.zeros(300, np.float32), sample_rate=16000).save(tmp_path / "short.wav")
    return tmp_path / "short.wav"


def decoded(units: object, system: Path, *more: str) -> int:
    return main(["decode", str(units), "--system", str(system), "--out", str(system.parent / "spoken.wav"), *more])


def encoded(system: Path, audio: list[Path], out: Path, form: str) -> int:
    return main(["encode", *map(str, audio), "--system", str(system), "--as", form, "--out", str(out)])


@pytest.mark.parametrize("form", ["string", "json", "npz"])
def test_a_file_of_several_recordings_needs_an_index(
    form: str, run_directory: Path, recording: Path, short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = tmp_path / f"units.{'npz' if form == 'npz' else 'txt'}"
    assert encoded(run_directory, [short, recording], units, form) == 0
    assert "short.wav: too short for a single unit" in capsys.readouterr().err
    assert decoded(units, run_directory) == 2
    assert "holds 2 recordings: choose one with --index" in capsys.readouterr().err
    assert decoded(units, run_directory, "--index", "1") == 0
    for index, reason in (("0", "no units in it"), ("2", "no recording 2"), ("-1", "no recording -1")):
        assert decoded(units, run_directory, "--index", index) == 2
        assert reason in capsys.readouterr().err


def test_training_ends_with_what_each_corpus_gave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora = [
        CorpusAccount(name="speech", utterances=1_000, weight=0.25, tokens=3_000_000_000, share=0.3, epochs=0.5),
        CorpusAccount(name="a-long-name", utterances=7, weight=0.75, tokens=7, share=0.7, epochs=12),
    ]
    lines = corpora_table(corpora)
    assert lines[1].split() == ["speech", "1,000", "3,000,000,000", "25.0%", "30.0%", "0.50"]
    assert len({len(line) for line in lines}) == 1, "columns end below each other"
    report = FitReport(steps=3, tokens_seen={"text": 4}, corpora=corpora)
    monkeypatch.setattr("stlm.config.run.train", lambda config: report)
    assert main(["train", "out=there"]) == 0
    assert capsys.readouterr().out == "\n".join(["there: 3 steps, tokens seen: 4 text", *lines, ""])
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(["train", "out=there"]) == 0
    assert capsys.readouterr().out == ""


def test_encode_writes_every_file_in_order(
    run_directory: Path, recording: Path, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(recording), str(short), str(recording)]
    assert main(["encode", *files, "--system", str(run_directory)]) == 0
    first, second, third, end = capsys.readouterr().out.split("\n")
    assert first == third and first.startswith("[U") and not second and not end
    assert main(["encode", *files, "--system", str(run_directory), "--as", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["audio"] for row in rows] == files and rows[1]["streams"]["logmel"]["codes"] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[U1][U1", "'[U1' is no unit"),
        ("[U1]]", "']' is no unit"),
        ("[U1]x[U2]", "'x[U2]' is no unit"),
        ("[U99]", "'[U99]' is no unit"),
        ("", "no units in it"),
        ("missing.json", "missing.json: cannot be read (No such file or directory)"),
        ("missing.npz", "missing.npz: no such file"),
    ],
)
def test_decode_takes_nothing_but_units(
    text: str, reason: str, run_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decoded(text, run_directory) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert decoded(" [U1] [U2] ", run_directory) == 0


@pytest.mark.parametrize(
    ("codes", "reason"),
    [
        ([-1], "whole numbers within 0..65535"),
        ([70000], "whole numbers within 0..65535"),
        ([20], "code 20 is outside 0..19"),
        (["a"], "codes are whole numbers"),
        ([1.7], "codes are whole numbers"),
        ([True], "codes are whole numbers"),
        ([float("nan")], "codes are whole numbers"),
        (None, "codes are whole numbers"),
        ([[1], [2, 3]], "ragged"),
        ([[1, 2], [3, 4]], "has 2 codes a frame, expected 1"),
        ([], "no units in it"),
    ],
)
def test_decode_refuses_codes_that_are_none(
    codes: object, reason: str, run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "units.json").write_text(json.dumps({"streams": {"logmel": {"codes": codes}}}))
    assert decoded(tmp_path / "units.json", run_directory) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


@pytest.mark.parametrize("key", ["fingerprint", "frame_rate_hz"])
@pytest.mark.parametrize("form", ["json", "npz"])
def test_decode_refuses_units_of_another_encoder(
    key: str, form: str, run_directory: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    units = tmp_path / f"units.{form}"
    assert encoded(run_directory, [recording], units, form) == 0
    if form == "json":
        row = json.loads(units.read_text())
        own, row["streams"]["logmel"][key] = row["streams"]["logmel"][key], "other"
        units.write_text(json.dumps(row))
    else:
        arrays = dict(np.load(units))
        origin = json.loads(str(arrays["stlm.streams"]))
        own, origin["logmel"][key] = origin["logmel"][key], "other"
        np.savez(units, **{**arrays, "stlm.streams": np.array(json.dumps(origin))})
    assert decoded(units, run_directory) == 2
    assert f"stream 'logmel' has {key} 'other', this system's has {own!r}" in capsys.readouterr().err


def test_decode_refuses_files_that_hold_no_units(
    run_directory: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encoded(run_directory, [recording], tmp_path / "whole.npz", "npz") == 0
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "list.json").write_text('{"streams": [1]}')
    capsys.readouterr()
    for name, reason in {
        "half.npz": "not units as stlm encode --as npz writes them",
        "empty.npz": "not units as stlm encode --as npz writes them",
        "folder.json": "cannot be read (Is a directory)",
        "list.json": "not units as stlm encode --as json writes them",
        recording.name: "is no text",
    }.items():
        assert decoded(tmp_path / name, run_directory) == 2, name
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1


def test_generate_refuses_speech_in_which_nothing_is_said(
    run_directory: Path, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(run_directory), "--speech", str(short), "--to", "text"]) == 2
    assert "short.wav: 0.019 s are too short for a single unit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["tasks=[{name: windtunnel_cloze, num_pairs: 1, nr: 2}]"], "unknown option 'nr'"),
        (["tasks=[{name: windtunnel_cloze}, {name: windtunnel_clozes}]"], "windtunnel_clozes"),
        (["tasks=[{name: windtunnel_cloze}, {name: windtunnel_cloze, num_pairs: 2}]"], "two tasks are called"),
        (["tasks=[{name: windtunnel_cloze}]", "reduce=summ"], "reduce must be one of sum, mean, got 'summ'"),
        (["tasks=[{name: windtunnel_cloze}]", "span=all"], "span must be one of"),
        (["tasks=[{name: windtunnel_cloze}]", "system=foo"], "leave out system="),
    ],
)
def test_evaluate_checks_everything_before_it_scores_or_writes(
    overrides: list[str], reason: str, run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.jsonl").write_text("dear")
    assert main(["evaluate", str(run_directory), *overrides, f"out={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert reason in error and "seq/s" not in error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"items.jsonl": "dear"}


def test_prepare_says_what_was_used_in_part_and_what_was_reused(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording.with_suffix(".txt").write_bytes("café".encode("latin1"))
    arguments = ["prepare", "source=folder", f"source.path={tmp_path}", f"out={tmp_path / 'shards'}", "num_shards=1"]
    for reused in (0, 1):
        assert main(arguments) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        assert f"0 inputs could not be used, 1 were used in part (see {tmp_path}/shards/quarantine.jsonl)" in out
        assert f"{reused} of 1 shards reused" in out


def test_recordings_are_resynthesised_side_by_side(run_directory: Path, tmp_path: Path, capsys) -> None:
    given = [str(run_directory), "source=windtunnel", "source.kind=sentences", "limit=2", f"out={tmp_path / 'out'}"]
    assert main(["resynthesize", *given]) == 0
    assert "ffe_yin_100" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "out" / "results.json").read_text())["systems"]) == {"original", "run"}
    assert main(["resynthesize", *given[1:]]) == 2
    assert "name one or more distinct systems" in capsys.readouterr().err


def test_overrides_may_stand_after_options() -> None:
    found = _parse(["evaluate", "runs/a", "--device", "cpu", "tasks=[]", "out=b"])
    assert (found.system, found.device, found.overrides) == ("runs/a", "cpu", ["tasks=[]", "out=b"])
    assert _parse(["resynthesize", "a", "b", "--checkpoint", "c", "limit=2"]).given == ["a", "b", "limit=2"]
    with pytest.raises(SystemExit):
        _parse(["evaluate", "runs/a", "--devise", "cpu"])
    with pytest.raises(SystemExit):
        _parse(["plugins", "too", "much"])
