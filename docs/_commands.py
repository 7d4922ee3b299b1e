"""Writes docs/reference/commands.md from the command line itself: ``python docs/_commands.py``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["COLUMNS"] = "100"


def page() -> str:
    """The page: each verb's help as it is printed."""
    from stlm.cli import parser

    top = parser()
    verbs = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    parts = ["# Commands\n", "Written by `python docs/_commands.py` from the command line itself.\n"]
    for name, verb in verbs.choices.items():
        parts.append(f"## stlm {name}\n\n```text\n{verb.format_help()}```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("reference").joinpath("commands.md").write_text(page())
