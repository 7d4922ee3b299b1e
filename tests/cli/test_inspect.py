"""What is in shards, as text and as a page, and what is wrong with them, also where they are at a URL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from stlm.cli import main
from stlm.testing.factories import CODEBOOK_STREAMS, EXPRESSIVE_STREAMS, make_corpus, write_shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    root = tmp_path / "shards"
    write_shards(root, [*make_corpus(20, streams=EXPRESSIVE_STREAMS), *make_corpus(2, seed=3, streams=())])
    note = {"id": "u<1>", "uri": None, "reason": "u<1>: 0.01 s of audio are too short", "kept_as": None}
    (root / "quarantine.jsonl").write_text(json.dumps(note) + "\n")
    (root / "run.json").write_text(json.dumps({"libraries": {"stlm": "9.9"}, "config": {"out": "</pre><b>x"}}))
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("one line\nand another\n")
    return tmp_path / "a.txt"


@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://bucket/out"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def prepare(corpus: Path, out: object, *more: str) -> int:
    options = ["num_shards=2", "runner.num_workers=1"]
    return main(["prepare", "source=text", f"source.path={corpus}", f"out={out}", *options, *more])


def test_figures_histograms_and_rejections_are_shown(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(shards), "--num", "1"]) == 0
    shown = capsys.readouterr().out
    for part in (
        r"utterances   22, 20 of them with speech and text",
        r"speech       \d\.\d\d minutes in 20 utterances",
        r"word times   \d+ words in 100.0% of those with speech and text",
        r"stream hubert: 501 codes at 25 Hz",
        r"seconds of an utterance\n +0 – 1|seconds of an utterance\n +\S+ – ",
        r"hubert frames of a word",
        r"made with stlm 9.9",
        r"1 … s of audio are too short; such as u<1>",
        r"utterance-0: \d",
    ):
        assert re.search(part, shown), part


def test_the_page_holds_all_and_refers_to_nothing_outside(shards: Path, tmp_path: Path) -> None:
    assert main(["inspect", str(shards), "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"(src|href)=|https?://|@import|url\(", page)
    assert page.count("<svg") == 3 + 3 + 3  # use of each stream's codes, three of utterances and words, frames of words
    assert "too short" in page and "u&lt;1&gt;" in page
    assert "</pre><b>x" not in page  # what a file says is text


@pytest.mark.parametrize("content", ["{", "[]", '{"libraries": 3}'])
def test_a_damaged_record_is_one_line(shards: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (shards / "run.json").write_text(content)
    assert main(["inspect", str(shards)]) == 2
    assert "run.json: does not say what made the shards" in capsys.readouterr().err


def test_codebooks_and_text_alone_have_pages_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, streams in (("codebooks", CODEBOOK_STREAMS), ("text", ())):
        write_shards(tmp_path / name, make_corpus(5, streams=streams))
        assert main(["inspect", str(tmp_path / name), "--html", str(tmp_path / "page.html")]) == 0
    assert "32 × 32 × 32 × 32 codes" in capsys.readouterr().out
    assert "seconds of a word" not in (tmp_path / "page.html").read_text()


def test_faults_are_lines_and_the_exit_code(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert prepare(corpus, out, "--verify") == 0
    assert "2 utterances in 2 shards are sound" in capsys.readouterr().out
    shard = out / "shard-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    (out / "shard-00000-of-00002.parquet").unlink()
    assert main(["inspect", str(out), "--verify"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "shard-00000-of-00002.parquet: is missing" in lines[0]
    assert lines[1].startswith(str(shard)) and lines[1].endswith("delete it and prepare again")


def test_preparation_verifies_what_it_reuses(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert prepare(corpus, out) == 0
    shard = out / "shard-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:-9])
    assert prepare(corpus, out, "--verify") == 1
    assert str(shard) in capsys.readouterr().out
    shard.unlink()
    assert prepare(corpus, out, "--verify") == 0


def test_a_job_of_an_array_verifies_its_own_shard(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["prepare", "source=text", f"source.path={corpus}", f"out={out}", "--shard", "1/2", "--verify"]
    assert main(arguments) == 0
    assert main(["inspect", str(out), "--verify"]) == 1


def test_shards_are_prepared_verified_and_shown_at_a_url(
    corpus: Path, memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(corpus, memory, "--verify") == 0, capsys.readouterr().err
    assert prepare(corpus, memory, "--verify") == 0
    assert "2 of 2 shards reused" in capsys.readouterr().out
    assert main(["inspect", memory]) == 0
    shown = capsys.readouterr().out
    assert "utterances   2, 0 of them" in shown and "made with stlm" in shown


def test_verify_and_html_are_for_shards(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path), "--verify"]) == 2
    assert "no *.parquet shard here" in capsys.readouterr().err
    assert main(["inspect", "s4://x"]) == 2
    assert "unknown scheme 's4'" in capsys.readouterr().err
