"""What comes of a training: the vocoder as it stands, what it sounds like, and figures on held-out recordings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stlm.types import AlignedUnits, Audio
from stlm_hifigan.checkpoint import Checkpoint, settings_of
from stlm_hifigan.conditioning import EXPRESSIVE_STYLE, PITCH, SPEAKER, STYLE, UNITS, Defaults
from stlm_hifigan.corpus import ROLES, Corpus, Spoken, runs
from stlm_hifigan.learner import Learner
from stlm_hifigan.spectra import Spectra, SpectraOptions
from stlm_hifigan.vocoder import FINGERPRINTS, HifiganVocoder


def checkpoint_of(learner: Learner, corpus: Corpus) -> Checkpoint:
    """The vocoder as it is now, with the streams that it was made for and defaults that the corpus suggests."""
    specs = {ROLES[role]: spec for role, spec in corpus.specs.items()}
    rate = specs[UNITS].sample_rate
    hops = {table: round(spec.hop * rate / spec.sample_rate) for table, spec in specs.items()}
    named = {"stream": UNITS, "pitch_stream": PITCH, "style_stream": EXPRESSIVE_STYLE}
    usual = {"default_voice": SPEAKER, "default_style": STYLE}
    extras: dict[str, Any] = {key: specs[table].name for key, table in named.items() if table in specs}
    extras |= {key: corpus.usual(table)[0] for key, table in usual.items() if table in corpus.tables}
    if EXPRESSIVE_STYLE in specs:
        extras["fallback_styles"] = corpus.usual(EXPRESSIVE_STYLE, len(Defaults().fallback_styles))
    extras[FINGERPRINTS] = {spec.name: spec.fingerprint for spec in specs.values()}
    generator = learner.plain()
    return Checkpoint(
        generator=generator,
        sample_rate=rate,
        voices=corpus.voices,
        styles=corpus.styles,
        settings=settings_of(generator.options, rate, hops),
        extras=extras,
    )


class Listening:
    """Audio for TensorBoard: some recordings spoken again, and once the recordings themselves."""

    def __init__(self, learner: Learner, corpus: Corpus, spoken: list[Spoken]) -> None:
        self.learner, self.corpus, self.spoken = learner, corpus, spoken
        self._is_first = True

    def __call__(self) -> dict[str, Audio]:
        vocoder = HifiganVocoder(checkpoint_of(self.learner, self.corpus))
        found: dict[str, Audio] = {}
        for item in self.spoken:
            id = self.corpus.recordings.utterances[item.recording].id
            found[f"made/{id}"] = spoken_again(vocoder, self.corpus, item)
            if self._is_first:
                found[f"original/{id}"] = Audio(samples=self.corpus.sound(item), sample_rate=vocoder.sample_rate)
        self._is_first = False
        return found


def spoken_again(vocoder: HifiganVocoder, corpus: Corpus, item: Spoken) -> Audio:
    """An utterance from its units, with its own durations, voice and style."""
    streams = {
        spec.name: corpus.row(item, ROLES[role])[:, None].astype(np.uint16) for role, spec in corpus.specs.items()
    }
    voice = int(corpus.row(item, SPEAKER)[0])
    style = int(corpus.row(item, STYLE)[0]) if STYLE in corpus.tables else None
    units = AlignedUnits(streams=streams, durations=np.ones(len(item), np.int32))
    return vocoder.synthesize(units, voice, style)


def figures(checkpoint: Checkpoint, corpus: Corpus, held_out: list[Spoken], options: SpectraOptions) -> dict[str, Any]:
    """Mel distance and duration error on held-out recordings; beside it, the error of one duration for all units."""
    if not held_out:
        return {"recordings": 0}
    vocoder, spectra = HifiganVocoder(checkpoint), Spectra(options)
    distances: list[float] = []
    errors: list[np.ndarray] = []
    lasting: list[np.ndarray] = []
    for item in held_out:
        made, natural = spoken_again(vocoder, corpus, item).samples, corpus.sound(item)
        both = (torch.from_numpy(sound)[None] for sound in (made, natural))
        distances.append(float(spectra.mel_distance(*both)))
        units, frames = runs(corpus.row(item, UNITS))
        errors.append(np.abs(vocoder.durations(units) - frames))
        lasting.append(frames)
    frames = np.concatenate(lasting)
    return {
        "recordings": len(held_out),
        "seconds": seconds_of(corpus, held_out),
        "mel_l1": float(np.mean(distances)),
        "duration_error_frames": float(np.concatenate(errors).mean()),
        "duration_error_frames_of_the_median": float(np.abs(frames - np.median(frames)).mean()),
    }


def seconds_of(corpus: Corpus, spoken: list[Spoken]) -> float:
    return sum(map(len, spoken)) / corpus.specs["units"].frame_rate_hz
