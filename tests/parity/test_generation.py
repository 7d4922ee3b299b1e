"""Prompts, greedy continuations and split outputs of both tiny language models, against the reference's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stlm
from stlm.audio import read_audio
from stlm.generate import GenerationOptions
from stlm.system import SpeechTextLM
from stlm.types import Audio, Document, Speech, TextSpan
from stlm_spiritlm.legacy import LegacyTokenizer, prompt_string_ids
from stlm_spiritlm.outputs import Output, legacy_outputs
from stlm_spiritlm.strings import count_hubert

PRESETS = {"spirit-lm-base-7b": "spiritlm-base", "spirit-lm-expressive-7b": "spiritlm-expressive"}
SHORT = {"spiritlm-base": "base", "spiritlm-expressive": "expr"}
TARGETS = {"T": "text", "S": "speech", "ARB": "any", "TEXT": "text"}
PROMPT_STRING = "[Speech][Hu1][Hu2][Hu3][Text]one two\n[Speech][Hu4][Hu5][Hu6][Text]"
GREEDY = 0.0
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden(goldens: Path) -> dict[str, Any]:
    return json.loads((goldens / "lm_spm.json").read_text())


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def systems(request: pytest.FixtureRequest, checkpoint: Path) -> dict[str, SpeechTextLM]:
    options = {"backbone.dtype": request.param}
    return {name: stlm.load(preset, checkpoint=checkpoint, options=options) for name, preset in PRESETS.items()}


def pieces_of(case: dict[str, Any], wav: Callable[[str], np.ndarray]) -> list[Any]:
    """The prompt that a case describes in words."""
    text = case["desc"]
    if "forcing" in text:
        return ["The largest country in the world is"]
    found = re.findall(r"wav=(\w+)|text='([^']*)'|T '([^']*)'", text)
    return [
        Speech(audio=Audio(samples=wav(name), sample_rate=16000)) if name else one or two for name, one, two in found
    ]


def target_of(case: dict[str, Any]) -> str:
    arrow = re.search(r"->\s*(\w+)", case["desc"])
    assert arrow is not None, case["desc"]
    return TARGETS[arrow[1]]


def test_prompts_and_greedy_continuations_are_those_of_the_reference(
    golden: dict[str, Any], systems: dict[str, SpeechTextLM], checkpoint: Path, wav
) -> None:
    assert len(golden["cases"]) == 22
    for case in golden["cases"]:
        system, to = systems[case["model"]], target_of(case)
        options = GenerationOptions(max_new_tokens=case["max_new_tokens"], temperature=GREEDY)
        if "prompt string" in case["desc"]:
            model = checkpoint / "spiritlm_model" / case["model"] / "tokenizer.model"
            ids = prompt_string_ids(model, PROMPT_STRING)
        else:
            ids = system.prompt_ids(system.document(pieces_of(case, wav)), to)
        assert ids.tolist() == case["prompt_ids"], case["desc"]
        (new,) = system.continue_ids([ids], to=to, options=options, force="forcing" not in case["desc"])
        assert new.tolist() == case["new_ids"], case["desc"]


def as_text(system: SpeechTextLM, ids: list[int]) -> str:
    """Ids as the official tool shows them: text as it is, units and markers as symbols."""
    vocabulary = system.codec.format.vocabulary
    shown, run = [], []
    for id in [*ids, None]:
        if id is not None and 2 < id < vocabulary.offset("markers"):
            run.append(id)
            continue
        if run:
            shown.append(system.codec.text_of(np.array(run), at_start=False))
            run = []
        if id is not None and id > 2:
            shown.append(vocabulary.show(id))
    return "".join(shown)


def compare(outputs: list[Output], expected: list[dict[str, Any]], case: str) -> None:
    assert ["TEXT" if isinstance(output, str) else "SPEECH" for output in outputs] == [
        item["type"] for item in expected
    ], case
    for output, item in zip(outputs, expected, strict=True):
        if isinstance(output, str):
            assert output == item["text"], case
            continue
        assert len(output) == item["n"], case
        np.testing.assert_allclose(output[:8], item["head8"], atol=TOLERANCE, err_msg=case)
        rms = float(np.sqrt((output.astype(np.float64) ** 2).mean()))
        assert rms == pytest.approx(item["rms"], abs=TOLERANCE), case


def test_outputs_are_split_as_the_reference_splits_them(
    golden: dict[str, Any], systems: dict[str, SpeechTextLM], tokenizers: dict[str, LegacyTokenizer]
) -> None:
    for case in golden["cases"]:
        system = systems[case["model"]]
        prompt, new = (as_text(system, case[key]) for key in ("prompt_ids", "new_ids"))
        tokenizer = tokenizers[SHORT[PRESETS[case["model"]]]]
        voice = 1 if "speaker 1" in case["desc"] else 2
        outputs = legacy_outputs(
            prompt, new, target_of(case), lambda units, t=tokenizer, v=voice: t.decode(units, speaker_id=v)
        )
        compare(outputs, case["outputs"], case["desc"])
    for case in golden["decode_cases"]:
        tokenizer = tokenizers[SHORT[PRESETS[case["model"]]]]
        compare(legacy_outputs(case["prompt"], case["new"], "any", tokenizer.decode), case["outputs"], case["desc"])


def test_prompt_strings_become_the_ids_of_the_official_tokenizer(golden: dict[str, Any], checkpoint: Path) -> None:
    assert len(golden["tokenizer_cases"]) == 22
    for case in golden["tokenizer_cases"]:
        model = checkpoint / "spiritlm_model" / case["model"] / "tokenizer.model"
        assert prompt_string_ids(model, case["text"]).tolist() == case["ids"], case["text"]


def test_unit_literals_in_text_stay_text(systems: dict[str, SpeechTextLM]) -> None:
    for system in systems.values():
        ids = system.prompt_ids(system.document(["say [Hu3] and [Text] now"]), "text")
        assert (system.codec.kind_of(ids[3:]) == 1).all()
        (span,) = system.codec.decode(ids)
        assert isinstance(span, TextSpan) and span.text == "say [Hu3] and [Text] now"


def test_a_batch_of_prompts_gives_what_singles_give(systems: dict[str, SpeechTextLM], wav) -> None:
    system = systems["spirit-lm-base-7b"]
    if next(system.backbone.parameters()).dtype.itemsize < 4:
        pytest.skip("bf16 sums depend on the shape of the batch")
    speech = Speech(audio=Audio(samples=wav("a08_short_word"), sample_rate=16000))
    prompts: list[Document] = [system.document(given) for given in (["some people"], [speech], ["a", speech, "means"])]
    options = GenerationOptions(max_new_tokens=40, temperature=GREEDY)
    together = system.continue_ids([system.prompt_ids(prompt, "any") for prompt in prompts], options=options)
    for prompt, ids in zip(prompts, together, strict=True):
        (alone,) = system.continue_ids([system.prompt_ids(prompt, "any")], options=options)
        assert alone.tolist() == ids.tolist()


def test_nothing_that_the_model_wrote_is_dropped(golden: dict[str, Any], systems: dict[str, SpeechTextLM]) -> None:
    """What the official tool drops (a short later stretch) is a span here, and speaks without pitch."""
    for case in golden["cases"]:
        system = systems[case["model"]]
        document = system.codec.decode(case["new_ids"])
        symbols = system.codec.to_string(document)
        assert count_hubert(symbols) == count_hubert(as_text(system, case["new_ids"])), case["desc"]


def test_three_encoders_share_one_reading_of_a_file(
    systems: dict[str, SpeechTextLM], goldens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counted(*given: Any, **options: Any) -> Audio:
        opened.append(str(given[0]))
        return read_audio(*given, **options)

    monkeypatch.setattr("stlm.system.read_audio", counted)
    path = goldens / "wavs" / "a08_short_word.flac"
    (span,) = systems["spirit-lm-expressive-7b"].encode(path)
    assert set(span.streams) == {"hubert", "pitch", "style"}
    assert opened == [str(path)]
