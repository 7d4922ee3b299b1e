"""Text corpora: every document once, whatever the file, and bad ones noted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stlm.errors import ConfigError, DataError
from stlm.prepare.texts import Config, TextSource
from stlm.testing.contracts import SourceContract
from stlm.types import Rejected, Utterance

DOCUMENTS = ["One line.", "Zwei – 2!", "three"]


def corpus(root: Path) -> Path:
    (root / "a").mkdir(parents=True)
    (root / "a" / "lines.txt").write_text("\n\n".join(DOCUMENTS) + "\n", encoding="utf-8")
    rows = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in DOCUMENTS)
    (root / "b.jsonl").write_text(rows)
    (root / "c.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    pq.write_table(pa.table({"text": DOCUMENTS, "n": [1, 2, 3]}), root / "d.parquet")
    (root / "notes.md").write_text("not mine")
    return root


def read(path: Path, **options: str) -> list[Utterance | Rejected]:
    return list(TextSource(Config(path=str(path), **options)).utterances())


class TestText(SourceContract):
    component = "text"

    @pytest.fixture
    def source(self, tmp_path: Path) -> TextSource:
        return TextSource(Config(path=str(corpus(tmp_path))))


def test_all_kinds_of_files_give_the_same_documents(tmp_path: Path) -> None:
    found = read(corpus(tmp_path))
    assert [item.text for item in found if isinstance(item, Utterance)] == DOCUMENTS * 4
    assert found[0].id == "a/lines.txt:1" and len({item.id for item in found}) == 12
    assert all(item.audio is None for item in found)
    assert [item.text for item in read(tmp_path / "d.parquet")] == DOCUMENTS


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("line", ["one", "two", "three", "four"]),
        ("paragraph", ["one\ntwo", "three", "four"]),
        ("file", ["one\ntwo\n\n\nthree\n\nfour"]),
    ],
)
def test_a_document_is_a_line_a_paragraph_or_a_file(unit: str, expected: list[str], tmp_path: Path) -> None:
    for ending in ("", "\n", "\n\n"):
        (tmp_path / "a.txt").write_text("\ufeffone\ntwo\n\n\nthree\n\nfour" + ending)
        assert [item.text for item in read(tmp_path, unit=unit)] == expected


def test_bad_documents_are_noted_and_the_others_arrive(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good\nb\xe4d\ngood too\n")
    (tmp_path / "b.jsonl").write_text('{"text": "good"}\n{"txt": 1}\n{"text": 7}\n[\n\n{"text": "last"}\n')
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "whole"}\n' * 50)[:-20])
    (tmp_path / "d.parquet").write_bytes(b"PAR1 but no more")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "e.parquet")
    pq.write_table(pa.table({"text": ["good", None]}), tmp_path / "f.parquet")
    found = read(tmp_path)
    reasons = {item.id: item.reason for item in found if isinstance(item, Rejected)}
    assert "byte 1 is 0xe4" in reasons["a.txt:2"]
    assert "no JSON object with 'text'" in reasons["b.jsonl:2"] and "expected a text" in reasons["b.jsonl:3"]
    assert "b.jsonl:4" in reasons and any(id.startswith("c.jsonl.gz") for id in reasons)
    assert "cannot be read further" in reasons["d.parquet:1"] and "expected 'text': set field" in reasons["e.parquet:1"]
    assert "'text' is None" in reasons["f.parquet:2"]
    good = [item.text for item in found if isinstance(item, Utterance)]
    assert {"good", "good too", "last"} <= set(good)


def test_another_field_and_a_changed_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"story": "once"}\n')
    source = TextSource(Config(path=str(tmp_path), field="story"))
    assert [item.text for item in source.utterances()] == ["once"]
    before = source.fingerprint()
    (tmp_path / "a.jsonl").write_text('{"story": "twice upon"}\n')
    assert TextSource(Config(path=str(tmp_path))).fingerprint() != before


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=r"no text here, expected files \(.txt, .jsonl"):
            TextSource(Config(path=str(path)))
    with pytest.raises(ConfigError, match="needs path"):
        TextSource(Config())
    with pytest.raises(ConfigError, match="unit must be one of line, paragraph, file, got 'word'"):
        TextSource(Config(path=str(tmp_path), unit="word"))
