"""Turn recordings into units: stlm encode a.wav b.flac --system runs/demo/interleaved --as string.

With published weights: stlm encode a.wav --system spiritlm-expressive --checkpoint DIR.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stlm.cli.system import add_system_arguments, open_system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", nargs="+", help="audio files")
    add_system_arguments(parser)
    parser.add_argument(
        "--as", dest="form", choices=["string", "json", "npz"], default="string", help="how to write units"
    )
    parser.add_argument("--out", type=Path, help="file to write; standard output if left out (npz needs one)")


def run(arguments: argparse.Namespace) -> int:
    from stlm.cli.units import write_units
    from stlm.system import anchor_units, encode_audio

    codec, encoders = open_system(arguments).build_codec()
    spans = encode_audio(codec, encoders, arguments.audio)
    text = write_units(codec, list(zip(arguments.audio, spans, strict=True)), arguments.form, arguments.out)
    if text is not None:
        sys.stdout.write(text)
    for name, span in zip(arguments.audio, spans, strict=True):
        if not len(anchor_units(codec, span)):
            print(f"stlm encode: {name}: too short for a single unit, its line is empty", file=sys.stderr)
    return 0
