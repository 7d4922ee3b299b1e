"""Both released models as Hugging Face directories: strings, ids and continuations of the reference, without stlm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from stlm.cli import main

PRESETS = {"spirit-lm-base-7b": "spiritlm-base", "spirit-lm-expressive-7b": "spiritlm-expressive"}
SETTINGS = {
    "T": "generation_config_text.json",
    "S": "generation_config_speech.json",
    "ARB": "generation_config.json",
    "TEXT": "generation_config_text.json",
}


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "lm_spm.json").read_text())


@pytest.fixture(scope="module")
def exports(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("exports")
    for name, preset in PRESETS.items():
        assert main(["export", preset, "--checkpoint", str(checkpoint), str(out / name), "--to", "hf"]) == 0
    return {name: out / name for name in PRESETS}


def test_prompt_strings_become_the_ids_of_the_reference(golden: dict[str, Any], exports: dict[str, Path]) -> None:
    """A string that opens with text and no marker gets the lone space, too, that stands before markers."""
    from transformers import AutoTokenizer

    tokenizers = {name: AutoTokenizer.from_pretrained(path) for name, path in exports.items()}
    cases = [case for case in golden["tokenizer_cases"] if case["text"].startswith("[")]
    assert len(cases) == 16
    for case in cases:
        tokenizer = tokenizers[case["model"]]
        assert tokenizer(case["text"]).input_ids == case["ids"], case["text"]
        if case["text"].startswith(("[Text]", "[Speech]", "[Hu1]")):
            assert tokenizer.decode(case["ids"], skip_special_tokens=True) == case["text"]


def test_prompts_and_greedy_continuations_are_those_of_the_reference(
    golden: dict[str, Any], exports: dict[str, Path]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    models = {name: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32) for name, path in exports.items()}
    tokenizers = {name: AutoTokenizer.from_pretrained(path) for name, path in exports.items()}
    for case in golden["cases"]:
        name, to = case["model"], case["desc"].split("->")[1].split()[0]
        tokenizer, settings = tokenizers[name], GenerationConfig.from_pretrained(exports[name], SETTINGS[to])
        if "forcing" in case["desc"]:
            settings.suppress_tokens = None
        given = tokenizer(tokenizer.decode(case["prompt_ids"], skip_special_tokens=True), return_tensors="pt")
        assert given.input_ids[0].tolist() == case["prompt_ids"], case["desc"]
        out = models[name].generate(
            **given, generation_config=settings, do_sample=False, max_new_tokens=case["max_new_tokens"]
        )
        assert out[0, len(case["prompt_ids"]) :].tolist() == case["new_ids"], case["desc"]
