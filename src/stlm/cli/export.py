"""Write a system as a standard Hugging Face directory: stlm export runs/demo/interleaved DIR --to hf.

transformers and vLLM load it without stlm: model, tokenizer with the units as literals ("[Hu12]"), generation settings.
DIR must be new or empty, or an earlier export with --overwrite.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stlm.cli.system import add_system_arguments, open_system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_system_arguments(parser, positional=True)
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to write")
    parser.add_argument("--to", choices=["hf"], default="hf", help="the kind of directory")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in DIR")


def run(arguments: argparse.Namespace) -> int:
    from stlm.export import export_huggingface

    export_huggingface(open_system(arguments), arguments.directory, overwrite=arguments.overwrite)
    print(f"{arguments.directory}: see README.md there for how to load it")
    return 0
