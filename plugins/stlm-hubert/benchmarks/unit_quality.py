"""Phone purity and PNMI of HuBERT units beside log-mel k-means, on voices and sentences that neither has heard.

    python plugins/stlm-hubert/benchmarks/unit_quality.py --model DIR [--layers 1,2,3,4] [--units 100,200]

The model is a directory that ``recipe=hubert_pretrain`` wrote. Both kinds of units are fitted by their recipes on the
same training sentences of the wind tunnel, at the same rate. Phones are the synthesizer's own, without stress marks;
pauses are one phone. A frame belongs to the phone at its middle.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stlm.interfaces import SpeechUnitEncoder
from stlm.learn.unit_quality import UnitQuality, count_pairs, unit_quality
from stlm.plugin import default_registry
from stlm.types import Audio, Utterance

TRAINED = "en-us en-us+m1 en-us+m2 en-us+m3 en-us+m4 en-us+m6 en-us+m7 en-us+f1 en-us+f2 en-us+f4 en-us+f5 en-us+linda"
HELD_OUT = "en-us+m5 en-us+m8 en-us+f3 en-us+Andy en-us+steph"
STRESS = "',%="


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--layers", default="1,2,3,4")
    parser.add_argument("--units", default="100,200")
    parser.add_argument("--train", type=int, default=600, help="sentences for k-means")
    parser.add_argument("--test", type=int, default=300)
    chosen = parser.parse_args()
    training = sentences("train", TRAINED, chosen.train)
    testing = sentences("test", HELD_OUT, chosen.test)
    print(f"{'units':24} {'K':>5} {'phone purity':>13} {'PNMI':>7} {'cluster purity':>15}")
    for num_units in map(int, chosen.units.split(",")):
        show("logmel", num_units, fitted("logmel", "logmel_kmeans", {}, num_units, training), testing)
        for layer in map(int, chosen.layers.split(",")):
            options = {"path": chosen.model, "layer": layer}
            encoder = fitted("hubert", "hubert_kmeans", options, num_units, training)
            show(f"hubert layer {layer}", num_units, encoder, testing)


def sentences(split: str, voices: str, count: int) -> list[Utterance]:
    options = {"kind": "sentences", "split": split, "voices": voices.split(), "style": "random", "num": count}
    return list(default_registry().build("source", "windtunnel", options).utterances())


def fitted(
    encoder: str, recipe: str, options: dict[str, object], num_units: int, training: Sequence[Utterance]
) -> SpeechUnitEncoder:
    with tempfile.TemporaryDirectory() as directory:
        built = default_registry().build("recipe", recipe, {**options, "num_units": num_units})
        built.train(training, Path(directory))
        return default_registry().build("unit_encoder", encoder, {"path": directory})


def show(name: str, num_units: int, encoder: SpeechUnitEncoder, testing: Sequence[Utterance]) -> None:
    found = measure(encoder, testing)
    figures = f"{found.phone_purity:13.3f} {found.pnmi:7.3f} {found.cluster_purity:15.3f}"
    print(f"{name:24} {num_units:5d} {figures}", flush=True)


def measure(encoder: SpeechUnitEncoder, testing: Sequence[Utterance]) -> UnitQuality:
    names: dict[str, int] = {}
    phones = [frame_phones(utterance, encoder.spec.hop, names) for utterance in testing]
    units = encoder.encode([utterance.audio for utterance in testing if isinstance(utterance.audio, Audio)])
    (size,) = encoder.spec.codebook_sizes
    counts = np.zeros((len(names), size), np.int64)
    for expected, found in zip(phones, units, strict=True):
        T = min(len(expected), len(found.codes))
        counts += count_pairs(expected[:T], found.codes[:T, 0], len(names), size)
    return unit_quality(counts)


def frame_phones(utterance: Utterance, hop: int, names: dict[str, int]) -> np.ndarray:
    """``int[T]``: the phone at the middle of each hop; `names` grows by phones not met before."""
    from stlm_windtunnel.espeak import phone_times

    times = phone_times(utterance.text or "", utterance.speaker or "", utterance.labels["style"])
    ids = np.array([names.setdefault(name.lstrip(STRESS), len(names)) for name, _, _ in times])
    ends = np.array([end for _, _, end in times])
    middles = np.arange(ends[-1] // hop) * hop + hop // 2
    return ids[np.searchsorted(ends, middles, side="right")]


if __name__ == "__main__":
    main()
