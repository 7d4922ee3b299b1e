"""How far an aligner's word times are from given ones, for each manifest of recordings with word times.

python plugins/stlm-align/benchmarks/boundary_error.py --manifests DIR/manifest.jsonl … --out DIR \\
    [--aligner pocketsphinx KEY=VALUE …]

Rows are those of the source folder's manifest.jsonl. Time given words by another aligner, or by hand: against times of
the same aligner the error says only that it repeats itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from stlm.audio import audio_of
from stlm.errors import DataError
from stlm.interfaces import Aligner
from stlm.plugin import default_registry
from stlm.types import Utterance

WITHIN = (20, 50, 100)  # milliseconds


@dataclass(kw_only=True)
class Found:
    """What an aligner made of recordings: errors of starts and ends in milliseconds, found - given."""

    errors: list[tuple[float, float]] = field(default_factory=list)
    given: int = 0
    recordings: int = 0
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def row(self) -> dict[str, object]:
        late = np.array(self.errors).reshape(-1, 2)
        off = np.abs(late)
        start, end = np.median(late, 0)
        return {
            "recordings": f"{self.recordings - len(self.refused)} of {self.recordings}",
            "words": f"{len(late)} of {self.given}",
            "median ms": f"{np.median(off):.1f}",
            "mean ms": f"{off.mean():.1f}",
            **{f"≤ {limit} ms": f"{100 * (off <= limit).mean():.1f} %" for limit in WITHIN},
            "start, end late by": f"{start:+.1f}, {end:+.1f}",
            "CPU s per s": f"{self.cpu_seconds / self.seconds:.4f}",
        }


def utterances(manifest: Path) -> Iterator[Utterance]:
    """Those of a manifest of any name, through the source folder."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        rows = [{**row, "audio": str((manifest.parent / row["audio"]).resolve())} for row in rows]
        (Path(folder) / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
        source = default_registry().build("source", "folder", {"path": folder})
        yield from (item for item in source.utterances() if isinstance(item, Utterance) and item.words)


def measure(aligner: Aligner, manifest: Path) -> Found:
    found = Found()
    for item in utterances(manifest):
        audio = audio_of(item)
        found.recordings += 1
        found.given += len(item.words)
        found.seconds += audio.seconds
        start = time.process_time()
        try:
            words = {word.char_start: word for word in aligner.align(audio, item.text or "") if word.score is not None}
        except DataError as error:
            found.refused.append(f"{item.id}: {error}")
            words = {}
        found.cpu_seconds += time.process_time() - start
        for true in item.words:
            if (got := words.get(true.char_start)) is not None and got.text == true.text:
                late = got.start - true.start, got.end - true.end
                found.errors.append((1000 * late[0] / audio.sample_rate, 1000 * late[1] / audio.sample_rate))
    return found


def picture(found: dict[str, Found], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(found), 1, figsize=(7, 2.5 * len(found)), squeeze=False, layout="constrained")
    for axis, (name, one) in zip(axes[:, 0], found.items(), strict=True):
        late = np.clip(np.array(one.errors).reshape(-1, 2), -150, 150)
        axis.hist(late, bins=np.arange(-155, 165, 10), label=["starts of words", "ends of words"])
        axis.set(title=name, xlabel="found later than given (ms; beyond ±150 at the edges)", ylabel="words")
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", required=True, nargs="+", type=Path)
    parser.add_argument("--aligner", default=["pocketsphinx"], nargs="+", metavar="NAME|KEY=VALUE")
    parser.add_argument("--out", required=True, type=Path, help="directory of boundary_error.json and .png")
    given = parser.parse_args()
    name, *pairs = given.aligner
    options = {key: yaml.safe_load(value) for key, value in (pair.split("=", 1) for pair in pairs)}
    aligner = default_registry().build("aligner", name, options)
    found = {manifest.stem: measure(aligner, manifest) for manifest in given.manifests}
    given.out.mkdir(parents=True, exist_ok=True)
    rows = {manifest: one.row() for manifest, one in found.items()}
    refused = {manifest: one.refused for manifest, one in found.items()}
    (given.out / "boundary_error.json").write_text(json.dumps({"rows": rows, "refused": refused}, indent=2) + "\n")
    picture(found, given.out / "boundary_error.png")
    columns = ["", *next(iter(rows.values()))]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for manifest, row in rows.items():
        print("| " + " | ".join([manifest, *map(str, row.values())]) + " |")
    for note in (note for notes in refused.values() for note in notes):
        print(f"refused {note}")


if __name__ == "__main__":
    main()
