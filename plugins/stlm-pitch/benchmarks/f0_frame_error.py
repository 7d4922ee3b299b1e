"""How well trained pitch units give back the F0 of a source's recordings.

python plugins/stlm-pitch/benchmarks/f0_frame_error.py --model DIR --source folder path=DIR
"""

from __future__ import annotations

import argparse
import json

import yaml

from stlm.plugin import default_registry
from stlm.types import Utterance
from stlm_pitch.checkpoint import load_checkpoint
from stlm_pitch.encoder import F0, F0Choice
from stlm_pitch.melodies import melodies_of
from stlm_pitch.recipe import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory that pitch_vqvae loads, in either layout")
    parser.add_argument("--source", required=True, help="component of kind source")
    parser.add_argument("options", nargs="*", help="KEY=VALUE of the source")
    given = parser.parse_args()
    options = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in given.options)}
    source = default_registry().build("source", given.source, options)
    checkpoint = load_checkpoint(given.model)
    saved = checkpoint.extras
    f0 = F0Choice.of(str(saved.get("f0") or F0), saved.get("f0_options") or {}, "cpu")
    utterances = [item for item in source.utterances() if isinstance(item, Utterance)]
    print(json.dumps(report(checkpoint.vqvae, melodies_of(utterances, f0.extractor, checkpoint.contour)), indent=2))


if __name__ == "__main__":
    main()
