"""Turn a corpus into shards of units.

  stlm prepare source=folder source.path=DIR unit_encoders=[{name: logmel, path: DIR}] out=DIR

Inputs that cannot be used go to quarantine.jsonl in the output directory with the reason; the run goes on. A shard that
is complete already is not made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from stlm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/prepare.yaml")
    parser.add_argument("--shard", metavar="I/N", help="only part I of N (from 0), for job arrays")
    parser.add_argument("--verify", action="store_true", help="read the finished shards back and list every fault")


def run(arguments: argparse.Namespace) -> int:
    from stlm.cli.inspect import show_faults
    from stlm.config.build import as_plain, build_choice, build_component
    from stlm.config.hydra import load_config
    from stlm.config.schema import PrepareConfig
    from stlm.prepare import Limits, ShardTask, prepare
    from stlm.store.place import place

    overrides, shards = list(arguments.overrides), None
    if arguments.shard:
        index, number = parse_shard(arguments.shard)
        overrides.append(f"num_shards={number}")
        shards = [index]
    config = load_config("prepare", PrepareConfig, overrides)
    out = place(config.out)
    task = ShardTask(
        source=build_choice("source", config.source),
        encoders=[build_choice("unit_encoder", item) for item in config.unit_encoders],
        stages=[build_choice("stage", item) for item in config.stages],
        out=out,
        shard=0,
        num_shards=config.num_shards,
        group_size=config.group_size,
        limits=Limits(
            utterances=config.batch_size,
            seconds=config.batch_seconds,
            longest=config.longest,
            readers=config.readers,
        ),
    )
    prepared = prepare(task, build_component("runner", config.runner), shards=shards)
    lost, in_part = prepared.num_rejected, prepared.num_in_part
    summary = {
        "shards": len(prepared.reports),
        "reused": prepared.num_reused,
        "utterances": prepared.num_utterances,
        "hours": prepared.num_seconds / 3600,
        "rejected": lost,
        "used_in_part": in_part,
        "seconds": prepared.elapsed,
        "times_real_time": prepared.speed,
    }
    write_record(out, as_plain(config), summary)
    where = f" (see {config.out}/quarantine.jsonl)" if lost or in_part else ""
    print(
        f"{prepared.num_utterances} utterances, {prepared.num_seconds / 3600:.2f} hours in {config.out}, made in "
        f"{prepared.elapsed:.0f} s ({prepared.speed:.0f} x real time); "
        f"{lost} inputs could not be used, {in_part} were used in part{where}; "
        f"{prepared.num_reused} of {len(prepared.reports)} shards reused"
    )
    return show_faults(out, shards) if arguments.verify else 0


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` as two numbers."""
    index, slash, number = text.partition("/")
    if not (slash and index.isdigit() and number.isdigit() and int(index) < int(number)):
        raise ConfigError(f"--shard must be I/N with 0 <= I < N, got {text!r}")
    return int(index), int(number)


def write_record(directory: Path, config: dict[str, Any], summary: dict[str, float]) -> None:
    """What made these shards and how it went, as run.json beside them; of an array of jobs, that of the last."""
    from stlm.checkpoint import installed_versions
    from stlm.store.place import new_file

    content = {"libraries": installed_versions(), "config": config, "summary": summary}
    with new_file(directory / "run.json") as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
