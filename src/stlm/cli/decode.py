"""Speak units: stlm decode units.json --system runs/demo/interleaved --out a.wav."""

from __future__ import annotations

import argparse
from pathlib import Path

from stlm.cli.system import add_system_arguments, open_system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("units", help="a unit string, or a file that stlm encode wrote")
    parser.add_argument("--index", type=int, metavar="N", help="which recording of the file, from 0")
    add_system_arguments(parser)
    parser.add_argument("--voice", help="one of the vocoder's voices")
    parser.add_argument("--style", help="one of the vocoder's styles")
    parser.add_argument("--out", type=Path, required=True, help="audio file to write (wav, flac, ogg)")


def run(arguments: argparse.Namespace) -> int:
    from stlm.cli.units import read_units
    from stlm.system import speak

    parts = open_system(arguments)
    codec, _ = parts.build_codec()
    document = read_units(codec, arguments.units, arguments.index)
    audio = speak(codec, parts.build("vocoder"), document, voice=arguments.voice, style=arguments.style)
    audio.save(arguments.out)
    print(f"{arguments.out}: {audio.seconds:.2f} s")
    return 0
