"""The whole road on this machine: corpus, units, training, evaluation, speech and text out, report.html.

Without --data it runs in a closed world of synthetic English, in about a quarter of an hour on two cores. With
--data DIR it runs on a folder of recordings: audio with .txt beside it, or manifest.jsonl with optional word times.
"""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="folder of real recordings")
    parser.add_argument("--system", metavar="NAME", help="whose speech units and voice to use, such as tiny-base")
    parser.add_argument("--checkpoint", metavar="DIR", help="directory of the preset's weights")
    parser.add_argument("--out", metavar="DIR", help="where everything goes (default runs/demo)")
    parser.add_argument(
        "--minutes", type=float, help="time budget; training shrinks to fit (default 14, with --data 6)"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/demo.yaml")


def run(arguments: argparse.Namespace) -> int:
    from stlm.config.hydra import load_config
    from stlm.config.schema import DemoConfig
    from stlm.demo.pipeline import run_demo

    named = {key: getattr(arguments, key) for key in ("data", "system", "checkpoint", "out", "minutes")}
    overrides = [f"{key}={json.dumps(value)}" for key, value in named.items() if value is not None]
    name = "demo_real" if arguments.data else "demo"
    out = run_demo(load_config(name, DemoConfig, [*overrides, *arguments.overrides]))
    print(f"open {out / 'report.html'} in a browser; the figures are in {out / 'results.json'}")
    return 0
