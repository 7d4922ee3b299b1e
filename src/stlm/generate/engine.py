"""The one sampler: batched ragged prompts, masks by block, per-row stop rules, ids as they come.

Cost: one forward pass over the longest prompt, then one step per id for the rows that still run; finished rows leave
the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stlm.errors import DataError
from stlm.generate.sampling import GenerationOptions, choose, row_generator
from stlm.interfaces.backbone import BackboneCache, BackboneLM
from stlm.interfaces.batch import PackedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One new id of one prompt; `is_last` when the row ends with it."""

    row: int
    id: int
    is_last: bool


class Engine:
    """Generates from a backbone.

    Args:
        backbone: the model, on its device, in evaluation mode.
    """

    def __init__(self, backbone: BackboneLM) -> None:
        self.backbone = backbone

    @torch.inference_mode()
    def stream(
        self,
        prompts: Sequence[np.ndarray],
        options: GenerationOptions,
        *,
        allowed: np.ndarray | None = None,
        stop_ids: Sequence[int] = (),
        stop_sequences: Sequence[Sequence[int]] = (),
    ) -> Iterator[Step]:
        """New ids of all prompts, step by step.

        Args:
            prompts: ``int[S]`` each, of any lengths, none empty.
            options: sampling.
            allowed: ``bool[V]``, ids that may be chosen; None for all, those beyond its end are not.
            stop_ids: ids that end a row; they are yielded.
            stop_sequences: a row ends when its new ids end with one of these.

        Raises:
            DataError: a prompt is empty.
        """
        if any(len(prompt) == 0 for prompt in prompts):
            raise DataError("cannot generate from an empty prompt: give at least a begin id or a marker")
        if not len(prompts) or options.max_new_tokens == 0:
            return
        device = next(self.backbone.parameters()).device
        cache = self.backbone.new_cache()
        logits, positions = self._prefill(prompts, cache, device)
        forbidden = None if allowed is None else _forbidden(allowed, logits.shape[-1]).to(device)
        rows = list(range(len(prompts)))
        generators = [row_generator(options.seed, row) for row in rows]
        written: list[list[int]] = [[] for _ in prompts]
        for count in range(1, options.max_new_tokens + 1):
            if forbidden is not None:
                logits = logits.masked_fill(forbidden, -torch.inf)
            chosen = [choose(logits[place], options, generators[row]) for place, row in enumerate(rows)]
            running = []
            for place, (row, id) in enumerate(zip(rows, chosen, strict=True)):
                written[row].append(id)
                ends = id in stop_ids or any(_ends_with(written[row], stop) for stop in stop_sequences)
                is_last = ends or count == options.max_new_tokens
                yield Step(row=row, id=id, is_last=is_last)
                if not is_last:
                    running.append(place)
            if not running:
                return
            if len(running) < len(rows):
                keep = torch.tensor(running, device=device)
                cache.select(keep)
                positions = positions[keep]
                rows, chosen = [rows[place] for place in running], [chosen[place] for place in running]
            logits = self._advance(chosen, positions, cache)
            positions = positions + 1

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        options: GenerationOptions,
        *,
        allowed: np.ndarray | None = None,
        stop_ids: Sequence[int] = (),
        stop_sequences: Sequence[Sequence[int]] = (),
    ) -> list[np.ndarray]:
        """New ids of each prompt, ``int64[N]``; see `stream`."""
        written: list[list[int]] = [[] for _ in prompts]
        for step in self.stream(prompts, options, allowed=allowed, stop_ids=stop_ids, stop_sequences=stop_sequences):
            written[step.row].append(step.id)
        return [np.array(ids, np.int64) for ids in written]

    def _prefill(
        self, prompts: Sequence[np.ndarray], cache: BackboneCache, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits ``[B, V]`` after each prompt and next positions ``[B]``; prompts are padded on the left."""
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
        segments = torch.zeros_like(ids)
        positions = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            start = longest - len(prompt)
            ids[row, start:] = torch.from_numpy(np.asarray(prompt, np.int64))
            segments[row, start:] = 1
            positions[row, start:] = torch.arange(len(prompt))
        batch = PackedBatch(ids=ids, segments=segments, positions=positions).to(device)
        hidden = self.backbone(batch, cache=cache).last[:, -1]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        return self.backbone.logits(hidden), lengths

    def _advance(self, chosen: list[int], positions: torch.Tensor, cache: BackboneCache) -> torch.Tensor:
        ids = torch.tensor(chosen, device=positions.device)[:, None]
        batch = PackedBatch(ids=ids, segments=torch.ones_like(ids), positions=positions[:, None])
        return self.backbone.logits(self.backbone(batch, cache=cache).last[:, -1])


def _forbidden(allowed: np.ndarray, width: int) -> torch.Tensor:
    """``bool[V]`` of the backbone's own width: rows beyond the format, which pad published checkpoints, are off."""
    forbidden = torch.ones(width, dtype=torch.bool)
    forbidden[: len(allowed)] = ~torch.from_numpy(allowed[:width])
    return forbidden


def _ends_with(ids: list[int], stop: Sequence[int]) -> bool:
    return len(stop) > 0 and len(ids) >= len(stop) and ids[-len(stop) :] == list(stop)
