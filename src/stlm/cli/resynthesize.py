"""Say recordings again through units and judge what is left: stlm resynthesize tiny-base tiny-expressive data=DIR.

Words by an ASR judge (judge=ctc judge.path=DIR; judge=whisper), pitch by F0 frame error, style by a classifier
(classifier=NAME), all systems side by side in report.html, results.json and items.jsonl. No language model is involved.
"""

from __future__ import annotations

import argparse

from stlm.cli.system import add_part_arguments, open_system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "given",
        nargs="+",
        metavar="SYSTEM|KEY=VALUE",
        help="run directories or presets, then overrides of configs/resynthesize.yaml",
    )
    add_part_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from itertools import islice
    from pathlib import Path

    from stlm.checkpoint import installed_versions
    from stlm.config.build import as_plain, build_component, usable
    from stlm.config.hydra import load_config, with_folder
    from stlm.config.schema import ResynthesizeConfig
    from stlm.errors import ConfigError
    from stlm.evals.report.resynthesis import write_resynthesis
    from stlm.evals.resynthesis import ORIGINAL, Resynthesizer, resynthesize

    names = [item for item in arguments.given if "=" not in item]
    if not names or ORIGINAL in names or len(set(names)) < len(names):
        raise ConfigError(f"name one or more distinct systems to compare, none of them {ORIGINAL!r}, got {names}")
    overrides = with_folder([item for item in arguments.given if "=" in item])
    config = load_config("resynthesize", ResynthesizeConfig, overrides)
    judge = build_component("judge", config.judge) if config.judge else None
    classifier = build_component("classifier", config.classifier) if config.classifier else None
    tracker = build_component("f0_extractor", config.f0_extractor) if config.f0_extractor else None
    systems = []
    for name in names:
        parts = open_system(argparse.Namespace(**{**vars(arguments), "system": name}))
        codec, encoders = parts.build_codec()
        short = Path(name).name or name
        systems.append(Resynthesizer(name=short, codec=codec, encoders=encoders, vocoder=parts.build("vocoder")))
    spoken = (item for item in usable(build_component("source", config.source)) if item.audio is not None)
    recordings = list(islice(spoken, config.limit))
    rows = resynthesize(
        systems,
        recordings,
        judge=judge,
        classifier=classifier,
        f0_extractor=tracker,
        label=config.label,
        durations=config.durations,
        seed=config.seed,
    )
    minutes = sum(utterance.audio.seconds for utterance in recordings if utterance.audio) / 60
    facts = [
        ("Recordings", f"{len(recordings)}, {minutes:.1f} minutes"),
        ("Words judged by", config.judge["name"] if config.judge else "nobody"),
        ("Style judged by", config.classifier["name"] if config.classifier else "nobody"),
        ("Pitch by", "YIN" + (f" and {config.f0_extractor['name']}" if config.f0_extractor else "")),
        ("Durations", config.durations),
    ]
    details = {"systems": names, "config": as_plain(config), "libraries": installed_versions()}
    out = Path(config.out)
    write_resynthesis(rows, recordings, out, num_examples=config.num_examples, facts=facts, details=details)
    for row in rows:
        rate = f"{row.bitrate:5.0f} bit/s" if row.bitrate else " " * 11
        shown = "  ".join(f"{name} {figure.value:.1f} %" for name, figure in row.figures.items())
        print(f"{row.name:<20} {rate}  {shown}")
    print(f"wrote {out / 'report.html'}")
    return 0
