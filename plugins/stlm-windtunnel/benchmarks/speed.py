"""Real-time factor of the world on one core: grammar, synthesis and resampling.

    python benchmarks/speed.py [--num 200]

Prints one row per kind and style: seconds spoken per second of CPU, words per second, mean length.
"""

from __future__ import annotations

import argparse
import time

from stlm_windtunnel.source import WindTunnelSource
from stlm_windtunnel.voices import STYLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=200, help="utterances per row")
    num = parser.parse_args().num
    print("kind       style     x real time   words/s   s/utterance")
    for kind in ("stories", "sentences"):
        for style in STYLES:
            source = WindTunnelSource(kind=kind, num=num, style=style)
            start = time.process_time()
            rows = [(u.audio.seconds, len(u.words)) for u in source.utterances()]
            cpu = time.process_time() - start
            seconds, words = (sum(column) for column in zip(*rows, strict=True))
            print(f"{kind:10} {style:9} {seconds / cpu:11.0f} {words / seconds:9.2f} {seconds / num:13.2f}")


if __name__ == "__main__":
    main()
