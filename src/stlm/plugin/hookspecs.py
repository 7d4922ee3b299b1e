"""All hooks of stlm. Each returns a sequence of components; a plugin implements those that it has something for."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from stlm.plugin.component import Component

hookspec = pluggy.HookspecMarker("stlm")
hookimpl = pluggy.HookimplMarker("stlm")


@hookspec
def stlm_unit_encoders() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Speech and text unit encoders (`SpeechUnitEncoder`, `TextUnitEncoder`)."""


@hookspec
def stlm_interleavers() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Policies that turn an utterance into a document (`Interleaver`)."""


@hookspec
def stlm_backbones() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Language models (`BackboneLM`)."""


@hookspec
def stlm_vocoders() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Units to sound (`Vocoder`)."""


@hookspec
def stlm_sources() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Corpora (`Source`)."""


@hookspec
def stlm_stages() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Preparation steps (`Stage`)."""


@hookspec
def stlm_runners() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Engines that run preparation (`Runner`)."""


@hookspec
def stlm_aligners() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Word times of a known text (`Aligner`)."""


@hookspec
def stlm_judges() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Recognisers that transcribe generated speech (`Judge`)."""


@hookspec
def stlm_classifiers() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Classifiers that label speech, by emotion or style (`Classifier`)."""


@hookspec
def stlm_f0_extractors() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Pitch trackers (`F0Extractor`)."""


@hookspec
def stlm_text_normalizers() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Text normal forms for metrics (`TextNormalizer`)."""


@hookspec
def stlm_eval_tasks() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Evaluation tasks (`EvalTask`)."""


@hookspec
def stlm_recipes() -> Sequence[Component]:  # pyright: ignore[reportReturnType]
    """Training of tokenizers and vocoders (`Recipe`)."""
