"""The scoring contract that every likelihood task shares.

A candidate's score is the sum or the mean of log-probabilities of the ids that count. Begin ids and modality markers
condition and never count; with span "continuation" the prompt conditions too, with "full" its ids count as well. Scores
are fp32; ties count one half. A candidate of which nothing counts (speech without a unit) has no score: its item stays
in the records and is left out of every accuracy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tqdm import tqdm

from stlm.codec import Codec
from stlm.errors import ConfigError, DataError, did_you_mean
from stlm.generate import log_likelihoods
from stlm.interfaces.eval_task import ChoiceItem, EvalTask
from stlm.system import SpeechTextLM
from stlm.types import Audio, AudioRef, Document, Piece, Speech, SpeechSpan

LOG = logging.getLogger(__name__)
REDUCTIONS = ("sum", "mean")
SPANS = ("continuation", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredItem:
    """One item with what both reductions need, so that results can be recomputed without the model.

    Args:
        id, group, answer, tags: as in the item.
        sums: summed log-probability of each candidate.
        counts: ids that count in each candidate.
    """

    id: str
    group: str
    answer: int
    sums: tuple[float, ...]
    counts: tuple[int, ...]
    tags: Mapping[str, str]

    @property
    def is_scored(self) -> bool:
        """Whether something counts in every candidate."""
        return min(self.counts) > 0

    def credit(self, reduce: str = "mean") -> float:
        """1 if the answer scores highest alone, a share of 1 where it ties, else 0.

        Raises:
            ConfigError: unknown reduction. DataError: a candidate has no score.
        """
        check_options(reduce=reduce)
        if not self.is_scored:
            raise DataError(f"item {self.id}: candidate {self.counts.index(0)} has no id that counts, so no score")
        scores = [
            total if reduce == "sum" else total / count for total, count in zip(self.sums, self.counts, strict=True)
        ]
        best = max(scores)
        winners = [index for index, score in enumerate(scores) if score == best]
        return 1.0 / len(winners) if self.answer in winners else 0.0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def check_options(*, span: str = SPANS[0], reduce: str = REDUCTIONS[0]) -> None:
    """Raise ConfigError for an unknown span or reduction."""
    for name, value, known in (("span", span, SPANS), ("reduce", reduce, REDUCTIONS)):
        if value not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, got {value!r}{did_you_mean(value, known)}")


def score_items(
    system: SpeechTextLM, task: EvalTask, *, span: str = "continuation", label: str = "score", batch: int = 128
) -> list[ScoredItem]:
    """Score all candidates of all items; audio that occurs twice is encoded once.

    Raises:
        ConfigError: unknown span.
        DataError: the task has no items, or none that has a score.
    """
    check_options(span=span)
    system.backbone.eval()
    scored: list[ScoredItem] = []
    cache: dict[int, SpeechSpan] = {}
    with tqdm(desc=label, unit="seq") as bar:
        for items in _batches(task.items(), batch):
            cache = _encode_audio(system, items)
            plans = [
                _plan(system.codec, item, candidate, cache, span) for item in items for candidate in item.candidates
            ]
            values = log_likelihoods(system.backbone, [ids for ids, _ in plans], progress=bar.update)
            sums = [float(value[counted].sum()) for value, (_, counted) in zip(values, plans, strict=True)]
            counts = [int(counted.sum()) for _, counted in plans]
            place = 0
            for item in items:
                end = place + len(item.candidates)
                scored.append(
                    ScoredItem(
                        id=item.id,
                        group=item.group,
                        answer=item.answer,
                        sums=tuple(sums[place:end]),
                        counts=tuple(counts[place:end]),
                        tags=dict(item.tags),
                    )
                )
                place = end
    if not scored:
        raise DataError("the evaluation task has no items")
    _report_unscored(scored, label)
    return scored


def _report_unscored(items: Sequence[ScoredItem], label: str) -> None:
    unscored = [item.id for item in items if not item.is_scored]
    if len(unscored) == len(items):
        raise DataError(f"{label}: every item has a candidate of which no id counts (no text, no unit of speech)")
    if unscored:
        LOG.warning(
            "%s: %d of %d items have a candidate of which no id counts (the first: %s): left out with their pairs",
            label,
            len(unscored),
            len(items),
            unscored[0],
        )


def _plan(
    codec: Codec, item: ChoiceItem, candidate: Sequence[Piece], cache: Mapping[int, SpeechSpan], span: str
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of prompt and candidate, and which of them count."""
    prompt = _resolve(item.prompt, cache)
    ids = codec.encode(prompt + _resolve(candidate, cache), eos=False).ids
    counted = codec.kind_of(ids) > 0
    counted[:1] = False
    if codec.format.bos is not None:
        counted[ids == codec.format.bos] = False
    start = len(codec.encode(prompt, eos=False)) if prompt else 0
    if span == "continuation" or not counted[start:].any():
        counted[:start] = False
    return ids, counted


def _resolve(pieces: Sequence[Piece], cache: Mapping[int, SpeechSpan]) -> Document:
    return tuple(cache[id(piece.audio)] if isinstance(piece, Speech) else piece for piece in pieces)


def _encode_audio(system: SpeechTextLM, items: Sequence[ChoiceItem]) -> dict[int, SpeechSpan]:
    audio: dict[int, Audio | AudioRef] = {}
    for item in items:
        for pieces in (item.prompt, *item.candidates):
            audio.update({id(piece.audio): piece.audio for piece in pieces if isinstance(piece, Speech)})
    keys, found = list(audio), []
    for start in range(0, len(keys), 32):
        found.extend(system.encode_batch([audio[key] for key in keys[start : start + 32]]))
    return dict(zip(keys, found, strict=True))


def _batches(items: Iterable[ChoiceItem], size: int) -> Iterator[list[ChoiceItem]]:
    batch: list[ChoiceItem] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
