"""What importing a module loads, measured in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

HEAVY = ("torch", "torchaudio", "transformers", "pytorch_lightning", "peft", "torchmetrics", "matplotlib")

PROGRAM = """
import importlib, json, sys
sys.path[:], modules, heavy = json.loads(sys.stdin.read())
for name in modules:
    importlib.import_module(name)
print("loaded:" + json.dumps([name for name in heavy if name in sys.modules]))
"""


def loaded_by(modules: Sequence[str], heavy: Iterable[str] = HEAVY) -> list[str]:
    """Those of `heavy` that importing `modules` loads, with the search path of this process.

    Raises:
        AssertionError: a module cannot be imported.
    """
    question = json.dumps([sys.path, list(modules), list(heavy)])
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=question, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"importing {', '.join(modules)} failed:\n{done.stderr}"
    answer = next(line for line in done.stdout.splitlines() if line.startswith("loaded:"))
    return json.loads(answer.removeprefix("loaded:"))


def assert_light(*modules: str, heavy: Iterable[str] = HEAVY) -> None:
    """Fail if importing the modules loads torch or another heavy library.

    Raises:
        AssertionError: it does, or a module cannot be imported.
    """
    found = loaded_by(modules, heavy)
    assert not found, (
        f"importing {', '.join(modules)} loads {', '.join(found)}: import inside the functions that need it"
    )
