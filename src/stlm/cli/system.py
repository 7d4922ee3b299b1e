"""SYSTEM on the command line: a run directory, or a preset with ``--checkpoint DIR``; the same for every verb."""

from __future__ import annotations

import argparse
from typing import Any

SYSTEM_HELP = "run directory, or the name of a preset with --checkpoint"


def add_system_arguments(parser: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """The system itself, and how to open it."""
    if positional:
        parser.add_argument("system", help=SYSTEM_HELP)
    else:
        parser.add_argument("--system", required=True, help=SYSTEM_HELP)
    add_part_arguments(parser)


def add_part_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a preset's weights are, where to compute, and changes to the system's parts."""
    parser.add_argument("--checkpoint", metavar="DIR", help="directory of the preset's weights")
    parser.add_argument("--device", help="where to compute, such as cuda or cuda:1")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PART.OPTION=VALUE",
        help="change an option of a part, such as encoders.hubert.precision=bf16; may be repeated",
    )


def open_system(arguments: argparse.Namespace) -> Any:
    """The `Parts` that the arguments name.

    Raises:
        ConfigError: there is no such system, part or option.
    """
    from stlm.parts import open_parts

    return open_parts(arguments.system, arguments.checkpoint, _options(arguments.set), arguments.device)


def _options(given: list[str]) -> dict[str, Any]:
    import yaml

    from stlm.errors import ConfigError

    options: dict[str, Any] = {}
    for item in given:
        key, separator, value = item.partition("=")
        if not separator or "." not in key:
            raise ConfigError(f"--set {item!r}: expected PART.OPTION=VALUE, such as encoders.hubert.precision=bf16")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {item!r}: the value is no YAML ({str(error).splitlines()[0]})") from error
    return options
