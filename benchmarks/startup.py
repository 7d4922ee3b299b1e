"""How long `stlm --help` takes, as a whole process: ``python benchmarks/startup.py [--runs 9]``."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def once() -> float:
    """Seconds of one `stlm --help`."""
    start = time.perf_counter()
    command = [sys.executable, "-c", "from stlm.cli import main; main(['--help'])"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=9)
    times = sorted(once() for _ in range(arguments.parse_args().runs))
    print(f"stlm --help: median {statistics.median(times):.3f} s, least {times[0]:.3f} s, most {times[-1]:.3f} s")


if __name__ == "__main__":
    main()
