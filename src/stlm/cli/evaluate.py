"""Score a system on likelihood tasks: stlm evaluate runs/demo/interleaved tasks=[{name: windtunnel_cloze}].

Writes results.json (accuracies with 95 % intervals) and items.jsonl (what each item scored, so that both reductions can
be recomputed without the model).
"""

from __future__ import annotations

import argparse
import json

from stlm.cli.system import add_system_arguments, open_system


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_system_arguments(parser, positional=True)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of configs/evaluate.yaml")


def run(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from stlm.config.build import build_component
    from stlm.config.hydra import load_config
    from stlm.config.schema import EvaluateConfig
    from stlm.errors import ConfigError
    from stlm.evals import by_tag, check_options, score_items

    config = load_config("evaluate", EvaluateConfig, [f"system={json.dumps(arguments.system)}", *arguments.overrides])
    if config.system != arguments.system:
        raise ConfigError(f"system={config.system}: the system is {arguments.system}, named first: leave out system=")
    if not config.tasks:
        raise ConfigError("no tasks: choose some with tasks=[{name: windtunnel_cloze}] (stlm plugins lists them)")
    check_options(span=config.span, reduce=config.reduce)
    tasks = {}
    for options in config.tasks:
        name = str(options.get("name"))
        if name in tasks:
            raise ConfigError(f"two tasks are called {name!r}: evaluate them apart, each with an out= of its own")
        tasks[name] = build_component("eval_task", options)
    system = open_system(arguments).build_system(device=arguments.device)
    at = Path(config.system)
    out = Path(config.out) if config.out else (at if at.is_dir() else Path("runs") / at.name) / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    results = {}
    partial = out / ".partial"  # what an earlier evaluation wrote stays until this one is complete
    with partial.open("w") as file:
        for name, task in tasks.items():
            items = score_items(system, task, span=config.span, label=name)
            file.writelines(json.dumps({"task": name, **item.as_dict()}) + "\n" for item in items)
            tag = "direction" if "direction" in items[0].tags else next(iter(items[0].tags), "all")
            found = by_tag(items, tag, reduce=config.reduce)
            results[name] = {value: accuracy.as_dict() for value, accuracy in found.items()}
            for value, accuracy in found.items():
                low, high = accuracy.ci95
                print(f"{name:<20} {value:<10} {accuracy.accuracy:5.1f} % [{low:.1f}, {high:.1f}] n={accuracy.n}")
    report = {"system": config.system, "span": config.span, "reduce": config.reduce, "tasks": results}
    partial.replace(out / "items.jsonl")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    partial.replace(out / "results.json")
    print(f"wrote {out / 'results.json'}")
    return 0
