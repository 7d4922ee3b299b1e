"""The README.md of an export: what the model is, how its strings look, and how to load and serve it."""

from __future__ import annotations

from stlm.codec import Codec

PAGE = """# {name}

A language model over text and speech units, exported by stlm. transformers loads it alone.

- format `{format_hash}` (`format.yaml`), {num_ids} ids
- text tokenizer `{text_hash}`
{streams}

## Strings

`{text}` opens text, `{speech}` opens speech, also at the very beginning: `{text}The cat{speech}{units}`.
{space_rule}
`tokenizer(string)` writes the begin id where the format has one, and no end id. A literal written inside a text is read
as the literal.

## transformers

```python
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

model, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
settings = GenerationConfig.from_pretrained("{name}", "generation_config_text.json")
prompt = tokenizer("{text}The cat", return_tensors="pt")
ids = model.generate(**prompt, generation_config=settings, max_new_tokens=50)
print(tokenizer.decode(ids[0, prompt.input_ids.shape[1] :], skip_special_tokens=True))
```

`generation_config_text.json` forbids all but text, `generation_config_speech.json` all but speech, and
`generation_config.json` only what is never right (padding, unused ids, task markers). Where the output is to be of
another modality than the prompt, end the prompt with its marker.

## vLLM

```
vllm serve {name}
```

It takes the sampling of `generation_config.json` but not its `suppress_tokens`. To forbid a modality give a request
`allowed_token_ids`: every id below {num_ids} that is not in `suppress_tokens` of the file for that modality.

## Speech

Units of a recording come from `stlm encode a.wav --system SYSTEM`, sound of units from
`stlm decode units.txt --system SYSTEM --out out.wav`, where SYSTEM is the run or preset that was exported.
"""

SPACE_RULES = {
    "space": "A space after a marker is optional: `{text}The` and `{text} The` are the same ids.",
    "no_prefix": "Text follows its marker directly, without a space: a space there is a part of the text.",
}


def card(codec: Codec, name: str) -> str:
    """The page, for a directory of that name."""
    format = codec.format
    streams = [
        f"- stream `{stream}`, units `{_unit(codec, stream)}`: encoder `{spec.fingerprint}`"
        for stream, spec in codec.streams.items()
    ]
    markers = {"text": format.markers.text, "speech": format.markers.speech}
    return PAGE.format(
        name=name,
        format_hash=format.sha256,
        num_ids=len(format.vocabulary),
        text_hash=codec.text_encoder.fingerprint,
        streams="\n".join(streams),
        units="".join(_unit(codec, rule) for rule in next(iter(format.layouts.values())).stream_names),
        space_rule=SPACE_RULES[format.after_marker].format(**markers),
        **markers,
    )


def _unit(codec: Codec, stream: str) -> str:
    return codec.format.vocabulary.show(codec.format.vocabulary.offset(stream))
