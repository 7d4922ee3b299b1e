"""Show what is inside a directory of shards, a run directory or a format file."""

from __future__ import annotations

import argparse
from pathlib import Path

from stlm.types import StreamRule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="directory of shards, run directory, or format.yaml")
    parser.add_argument("--num", type=int, default=3, help="utterances to show")


def run(arguments: argparse.Namespace) -> int:
    from stlm.errors import DataError

    path: Path = arguments.path
    if path.suffix in (".yaml", ".yml"):
        show_format(path)
    elif (path / "format.yaml").exists():
        show_run(path)
    elif path.is_dir() and any(path.glob("*.parquet")):
        show_shards(path, arguments.num)
    else:
        raise DataError(f"{path}: neither shards (*.parquet), nor a run directory (run.json), nor a format (.yaml)")
    return 0


def show_format(path: Path) -> None:
    from stlm.checkpoint import load_format

    format = load_format(path)
    print(f"{len(format.vocabulary)} ids, sha256 {format.sha256[:12]}, text after a marker: {format.after_marker}")
    for block in format.vocabulary.blocks:
        start = format.vocabulary.offset(block.name)
        last = block.num_ids - 1
        symbols = f"{block.show(0)} … {block.show(last)}"
        print(f"  {start:>7}..{start + last:<7} {block.name:<10} {symbols}")
    for name, layout in format.layouts.items():
        rules = ", ".join(_show_rule(rule) for rule in layout.rules)
        print(f"  layout {name}: {rules}")


def _show_rule(rule: StreamRule) -> str:
    flags = (" deduplicated" if rule.dedup else "") + (" (anchor)" if rule.anchor else "")
    return f"{rule.stream} at {rule.rate_hz:g} Hz{flags}"


def show_run(path: Path) -> None:
    from stlm.checkpoint import read_run_file

    run = read_run_file(path)
    for role, name in run["components"].items():
        print(f"{role:<18} {name}")
    print(", ".join(f"{name} {number}" for name, number in run["libraries"].items()))
    show_format(path / "format.yaml")


def show_shards(path: Path, num: int) -> None:
    from itertools import islice

    from stlm.store import ShardSet

    shards = ShardSet(path)
    print(f"{shards.num_utterances} utterances, {len(shards.shards)} shards, {shards.num_groups} row-groups")
    for name, spec in shards.streams.items():
        print(
            f"  stream {name}: {spec.codebook_sizes} at {spec.frame_rate_hz:g} Hz, fingerprint {spec.fingerprint[:12]}"
        )
    for utterance in islice(shards, max(0, num)):
        seconds = f"{utterance.audio.seconds:.2f} s" if utterance.audio else "no audio"
        print(f"{utterance.id}: {seconds}, {len(utterance.words)} words, {utterance.text!r}")
        for name, units in utterance.streams.items():
            print(f"  {name}: {' '.join(map(str, units.codes[:24].reshape(-1).tolist()))} …")
