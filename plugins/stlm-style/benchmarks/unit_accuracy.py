"""How well trained style units tell the labels of a source apart: each unit is read as its label of training.

python plugins/stlm-style/benchmarks/unit_accuracy.py --model DIR --source folder path=DIR part=test parts=4
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import yaml

from stlm.learn.sounds import sound_of
from stlm.plugin import default_registry
from stlm.types import Utterance
from stlm_style import encoder
from stlm_style.recipe import REPORT, labels_of
from stlm_style.report import accuracies, normalised_information


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="directory that the recipe style_units wrote")
    parser.add_argument("--source", required=True, help="component of kind source")
    parser.add_argument("--label", default="style")
    parser.add_argument("options", nargs="*", help="KEY=VALUE of the source")
    given = parser.parse_args()
    options = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in given.options)}
    source = default_registry().build("source", given.source, options)
    utterances = [item for item in source.utterances() if isinstance(item, Utterance) and item.audio is not None]
    names, labels = labels_of(utterances, given.label)
    units = encoder.build(encoder.Config(path=given.model)).encode([sound_of(item, 16000) for item in utterances])
    figures = json.loads((Path(given.model) / REPORT).read_text())
    everything = sorted({*names, *figures["units"]})
    codes = [item.codes[:, 0].astype(np.int64) for item in units]
    owners = np.repeat(np.arange(len(codes)), [len(item) for item in codes])
    wanted = np.array([everything.index(names[label]) for label in labels])
    meanings = np.array([everything.index(name) for name in figures["units"]])
    joined = np.concatenate(codes)
    for name, value in accuracies(joined, owners, wanted, meanings).items():
        print(f"{name} {value:.4f}")
    print(f"nmi {normalised_information(joined, wanted[owners]):.4f} ({len(codes)} recordings, {len(joined)} seconds)")
    votes = np.zeros((len(everything), len(everything)), int)
    for label, own in zip(wanted, codes, strict=True):
        votes[label, np.bincount(meanings[own], minlength=len(everything)).argmax()] += 1
    for name, row in zip(everything, votes, strict=True):
        print(
            f"{name:>12}: " + ", ".join(f"{count} {read}" for read, count in zip(everything, row, strict=True) if count)
        )


if __name__ == "__main__":
    main()
