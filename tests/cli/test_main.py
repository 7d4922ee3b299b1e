"""The frame around all verbs: whatever a user can cause is one line on stderr and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch._utils import ExceptionWrapper

from stlm import cli
from stlm.cli import encode, main
from stlm.errors import ConfigError


def run_with(monkeypatch: pytest.MonkeyPatch, action: object) -> int:
    monkeypatch.setattr(encode, "run", action)
    return main(["encode", "a.wav", "--system", "x"])


def test_a_place_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for path, reason in (("none/a.txt", "No such file or directory"), ("file/a.txt", "Not a directory")):
        assert run_with(monkeypatch, lambda _, path=path: (tmp_path / path).write_text("units")) == 2
        assert capsys.readouterr().err == f"stlm encode: {tmp_path / path}: {reason}\n"


def test_an_error_of_a_loader_process_is_its_own_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        try:
            raise ConfigError("ConfigError: one clear line: choose another")
        except ConfigError:
            caught = ExceptionWrapper(where="in DataLoader worker process 0")
        caught.reraise()

    assert run_with(monkeypatch, fail) == 2
    assert capsys.readouterr().err == "stlm encode: ConfigError: one clear line: choose another\n"


def test_verbose_shows_where_an_error_came_from(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(encode, "run", fail)
    assert main(["-v", "encode", "a.wav", "--system", "x"]) == 2
    assert any(record.exc_info and record.name == cli.__name__ for record in caplog.records)
