"""The command line: one verb per file. Verbs import what is heavy inside their functions, so that help is instant."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from stlm.cli import ranks
from stlm.errors import StlmError

VERBS = (
    "plugins",
    "demo",
    "prepare",
    "train",
    "encode",
    "decode",
    "generate",
    "evaluate",
    "resynthesize",
    "export",
    "inspect",
)

LOOSE = ("overrides", "given")
"""Arguments of verbs that hold any number of words."""


def parser() -> argparse.ArgumentParser:
    """The whole command line, for help, tests and docs."""
    top = argparse.ArgumentParser(
        prog="stlm", description="Train, prompt and evaluate language models that read, listen, write and speak."
    )
    top.add_argument("-v", "--verbose", action="store_true", help="show log messages of stlm")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        module = import_module(f"stlm.cli.{name}")
        summary = (module.__doc__ or "").split(".\n")[0].split("\n")[0].rstrip(".")
        verb = verbs.add_parser(
            name, help=summary, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; bad input gives one line on stderr, also where several processes train, and exit code 2."""
    arguments = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("stlm").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    try:
        return int(arguments.run(arguments) or 0)
    except StlmError as error:
        return _fail(arguments.verb, error, _own_line(error))
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(arguments.verb, error, where + (error.strerror or str(error)))
    except KeyboardInterrupt:
        print(f"\nstlm {arguments.verb}: interrupted", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of a verb; what is no option may stand after options, too, which argparse alone does not allow."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    loose = next((name for name in LOOSE if hasattr(arguments, name)), None)
    if rest and (loose is None or any(item.startswith("-") for item in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest and loose is not None:
        getattr(arguments, loose).extend(rest)
    return arguments


def _own_line(error: StlmError) -> str:
    """The message; torch puts the traceback of a loader process before it."""
    text, kind = str(error), type(error)
    return text.rpartition(f"\n{kind.__module__}.{kind.__name__}: ")[2].strip() if text.startswith("Caught ") else text


def _fail(verb: str, error: Exception, line: str) -> int:
    if verb != "train" or not ranks.is_said(line):
        print(f"stlm {verb}: {line}", file=sys.stderr)
    logging.getLogger(__name__).info("the error came from here", exc_info=error)
    return 2
