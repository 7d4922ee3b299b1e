"""`stlm export`: plain transformers loads the directory and gives the logits, ids and continuations of stlm."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import stlm
from stlm.checkpoint import load_format, save_system
from stlm.cli import main
from stlm.config.build import build_system
from stlm.config.hydra import load_config
from stlm.config.schema import TrainConfig
from stlm.generate import GenerationOptions
from stlm.system import SpeechTextLM
from stlm.testing.fakes import batch_of
from stlm.types import TextSpan, UnitSpan

FILES = {
    "README.md",
    "config.json",
    "format.yaml",
    "generation_config.json",
    "generation_config_speech.json",
    "generation_config_text.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
CONFIGS = {"any": None, "text": "generation_config_text.json", "speech": "generation_config_speech.json"}
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "export.md"
PADDED_ROWS = 5
ALONE = """
import json, sys
sys.modules["stlm"] = sys.modules["stlm_bpe"] = sys.modules["stlm_llama"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
directory, string, out = sys.argv[1:]
model, tokenizer = AutoModelForCausalLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)
given = tokenizer(string, return_tensors="pt")
with torch.no_grad():
    torch.save({"ids": given.input_ids, "logits": model(**given).logits}, out)
"""


@pytest.fixture(scope="module")
def run_directory(system_overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained system of real plugins whose tables have more rows than the format has ids."""
    root = tmp_path_factory.mktemp("system")
    silent = [item for item in system_overrides if not item.startswith("vocoder=")]
    system = build_system(load_config("train", TrainConfig, silent))
    rows = len(system.codec.format.vocabulary) + PADDED_ROWS
    system.backbone.extend(rows, torch.Generator().manual_seed(0))
    save_system(system, root / "run")
    return root / "run"


@pytest.fixture(scope="module")
def system(run_directory: Path) -> SpeechTextLM:
    return stlm.load(run_directory)


@pytest.fixture(scope="module")
def exported(run_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "hf"
    assert main(["export", str(run_directory), str(out), "--to", "hf"]) == 0
    return out


def units(*codes: int) -> UnitSpan:
    return UnitSpan(
        stream=np.zeros(len(codes), np.uint8), codebook=np.zeros(len(codes), np.uint8), code=np.array(codes, np.uint16)
    )


DOCUMENT = (TextSpan(text="The doctor, too"), units(3, 7, 19, 0), TextSpan(text=" went hôme."))


def test_the_directory_has_what_hugging_face_has_and_nothing_else(exported: Path, system: SpeechTextLM) -> None:
    assert {path.name for path in exported.iterdir()} == FILES
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    assert load_format(exported / "format.yaml") == system.codec.format


def test_transformers_without_stlm_gives_equal_ids_and_logits(
    exported: Path, system: SpeechTextLM, tmp_path: Path
) -> None:
    string = system.codec.to_string(DOCUMENT)
    command = [sys.executable, "-c", ALONE, str(exported), string, str(tmp_path / "out.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    ids = system.codec.encode(DOCUMENT, eos=False).ids.tolist()
    assert found["ids"].tolist() == [ids]
    with torch.no_grad():
        logits = system.backbone.logits(system.backbone(batch_of([ids])).last)
    assert found["logits"].shape[-1] == len(system.codec.format.vocabulary) + PADDED_ROWS
    torch.testing.assert_close(found["logits"], logits)


@pytest.mark.parametrize("to", list(CONFIGS))
def test_greedy_continuations_are_those_of_stlm(to: str, exported: Path, system: SpeechTextLM) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    model, tokenizer = AutoModelForCausalLM.from_pretrained(exported), AutoTokenizer.from_pretrained(exported)
    settings = GenerationConfig.from_pretrained(exported, CONFIGS[to])
    prompts = [system.prompt_ids(document, to) for document in (DOCUMENT, DOCUMENT[:2], DOCUMENT[:1])]
    expected = system.continue_ids(prompts, to=to, options=GenerationOptions(max_new_tokens=24, temperature=0))
    for prompt, ids in zip(prompts, expected, strict=True):
        string = tokenizer.decode(prompt, skip_special_tokens=True)
        given = tokenizer(string, return_tensors="pt")
        assert given.input_ids[0].tolist() == prompt.tolist()
        out = model.generate(**given, generation_config=settings, do_sample=False, max_new_tokens=24)
        assert out[0, len(prompt) :].tolist() == ids.tolist()


@pytest.mark.parametrize("to", list(CONFIGS))
def test_the_banned_ids_are_those_of_the_engine(to: str, exported: Path, system: SpeechTextLM) -> None:
    settings = json.loads((exported / (CONFIGS[to] or "generation_config.json")).read_text())
    banned = [*np.flatnonzero(~system.allowed(to)), *(len(system.allowed(to)) + row for row in range(PADDED_ROWS))]
    assert settings["suppress_tokens"] == banned
    format, defaults = system.codec.format, GenerationOptions()
    assert (settings["bos_token_id"], settings["eos_token_id"], settings["pad_token_id"]) == (
        format.bos,
        format.eos,
        format.pad,
    )
    assert (settings["temperature"], settings["top_p"], settings["top_k"]) == (
        defaults.temperature,
        defaults.top_p,
        defaults.top_k,
    )


def test_the_card_names_format_streams_and_tokenizer(exported: Path, system: SpeechTextLM) -> None:
    page = (exported / "README.md").read_text()
    codec = system.codec
    for said in (codec.format.sha256, codec.text_encoder.fingerprint, codec.streams["logmel"].fingerprint, "[U0]"):
        assert said in page
    assert "{" not in page.replace("**prompt", "")


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_code_on_the_card_runs(exported: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(exported.parent)
    (code,) = blocks((exported / "README.md").read_text(), "python")
    exec(code, {})
    assert "[" not in capsys.readouterr().out


def test_the_how_to_runs(
    run_directory: Path, system: SpeechTextLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/parts").mkdir(parents=True)
    (tmp_path / "runs/parts/model").symlink_to(run_directory)
    (command,) = blocks(HOW_TO.read_text(), "bash")
    assert main(shlex.split(command)[1:]) == 0
    found: dict[str, list[int]] = {}
    exec("\n".join(blocks(HOW_TO.read_text(), "python")), found)
    assert re.fullmatch(r"(\[U\d+\])*\n", (tmp_path / "units.txt").read_text())
    assert found["allowed"] == np.flatnonzero(system.allowed("speech")).tolist()


def test_an_earlier_export_is_replaced_only_when_asked(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hf"
    out.mkdir()
    assert main(["export", str(run_directory), str(out)]) == 0
    (out / "model.safetensors").write_bytes(b"")
    assert main(["export", str(run_directory), str(out)]) == 2
    assert "replace it by --overwrite" in capsys.readouterr().err
    assert (out / "model.safetensors").read_bytes() == b""
    assert main(["export", str(run_directory), str(out), "--overwrite"]) == 0
    assert (out / "model.safetensors").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


def test_what_is_no_export_is_never_replaced(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for more in ([], ["--overwrite"]):
        assert main(["export", str(run_directory), str(tmp_path), *more]) == 2
        assert "something else than an export" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_backbone_that_transformers_does_not_know_leaves_nothing(
    run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: object, directory: Path) -> None:
        (directory / "config.json").write_text('{"hidden_size": 16}')

    monkeypatch.setattr("stlm_llama.backbone.HuggingFaceBackbone.save", save)
    assert main(["export", str(run_directory), str(tmp_path / "hf")]) == 2
    error = capsys.readouterr().err
    assert "is no model of transformers" in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["text", "backbone"])
def test_a_run_without_a_part_is_one_line(
    role: str, run_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((run_directory / "run.json").read_text())
    del record["components"][role]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    for name in ("format.yaml", "text", "encoders"):
        (tmp_path / "run" / name).symlink_to(run_directory / name)
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "hf")]) == 2
    assert f"has no {role}" in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


def test_no_such_run_and_no_such_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path / "nothing"), str(tmp_path / "hf")]) == 2
    assert "no run directory" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path), str(tmp_path / "hf"), "--to", "gguf"])
    assert "invalid choice: 'gguf'" in capsys.readouterr().err
