"""Turn a corpus into shards of units.

  stlm prepare source=folder source.path=DIR unit_encoders=[{name: logmel, path: DIR}] out=DIR

Inputs that cannot be used go to quarantine.jsonl in the output directory with the reason; the run goes on. A shard that
is complete already is not made again.
"""

from __future__ import annotations

import argparse

from stlm.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/prepare.yaml")
    parser.add_argument("--shard", metavar="I/N", help="only part I of N (from 0), for job arrays")
    parser.add_argument("--verify", action="store_true", help="read the finished shards back and check every code")


def run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from stlm.config.build import as_plain, build_choice, build_component
    from stlm.config.hydra import load_config
    from stlm.config.schema import PrepareConfig
    from stlm.prepare import ShardTask, prepare

    overrides, shards = list(arguments.overrides), None
    if arguments.shard:
        index, number = parse_shard(arguments.shard)
        overrides.append(f"num_shards={number}")
        shards = [index]
    config = load_config("prepare", PrepareConfig, overrides)
    task = ShardTask(
        source=build_choice("source", config.source),
        encoders=[build_choice("unit_encoder", item) for item in config.unit_encoders],
        stages=[build_choice("stage", item) for item in config.stages],
        out=Path(config.out),
        shard=0,
        num_shards=config.num_shards,
        group_size=config.group_size,
        batch_size=config.batch_size,
    )
    prepared = prepare(task, build_component("runner", config.runner), shards=shards)
    write_record(Path(config.out), as_plain(config))
    lost, in_part = prepared.num_rejected, prepared.num_in_part
    where = f" (see {config.out}/quarantine.jsonl)" if lost or in_part else ""
    print(
        f"{prepared.num_utterances} utterances, {prepared.num_seconds / 3600:.2f} hours in {config.out}; "
        f"{lost} inputs could not be used, {in_part} were used in part{where}; "
        f"{prepared.num_reused} of {len(prepared.reports)} shards reused"
    )
    if arguments.verify:
        verify(Path(config.out))
    return 0


def parse_shard(text: str) -> tuple[int, int]:
    """``I/N`` as two numbers."""
    index, slash, number = text.partition("/")
    if not (slash and index.isdigit() and number.isdigit() and int(index) < int(number)):
        raise ConfigError(f"--shard must be I/N with 0 <= I < N, got {text!r}")
    return int(index), int(number)


def write_record(directory: object, config: dict) -> None:  # type: ignore[type-arg]
    """What made these shards, as run.json beside them."""
    import json
    from pathlib import Path

    from stlm.checkpoint import installed_versions

    content = {"libraries": installed_versions(), "config": config}
    (Path(str(directory)) / "run.json").write_text(json.dumps(content, indent=2) + "\n")


def verify(directory: object) -> None:
    """Read every utterance back; a damaged shard raises."""
    from pathlib import Path

    from tqdm import tqdm

    from stlm.store import ShardSet

    shards = ShardSet(Path(str(directory)))
    for utterance in tqdm(shards, total=shards.num_utterances, desc="verify", unit="utterance"):
        for units in utterance.streams.values():
            units.check_range()
    print(f"{shards.num_utterances} utterances in {len(shards.shards)} shards are sound")
