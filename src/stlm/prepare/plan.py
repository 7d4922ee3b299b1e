"""A corpus to a directory of shards, with its quarantine list and a summary."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from tqdm import tqdm

from stlm.errors import DataError
from stlm.interfaces.stage import Runner
from stlm.prepare.encode import ShardReport, ShardTask, all_rejected, count_rejected, forget_parts, prepare_shard
from stlm.store.place import files, new_file
from stlm.store.quarantine import QUARANTINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What preparation made.

    Args:
        directory: where the shards are.
        reports: one per shard.
        elapsed: seconds that it took.
    """

    directory: Path
    reports: tuple[ShardReport, ...]
    elapsed: float

    @property
    def num_utterances(self) -> int:
        return sum(report.num_utterances for report in self.reports)

    @property
    def num_seconds(self) -> float:
        return sum(report.num_seconds for report in self.reports)

    @property
    def speed(self) -> float:
        """Seconds of sound a second, of the shards that were made now."""
        return sum(report.num_seconds for report in self.reports if not report.was_done) / max(self.elapsed, 1e-9)

    @property
    def num_rejected(self) -> int:
        """Inputs of which nothing could be used."""
        return count_rejected(all_rejected(self.reports))[0]

    @property
    def num_in_part(self) -> int:
        """Inputs of which only a part could be used."""
        return count_rejected(all_rejected(self.reports))[1]

    @property
    def num_reused(self) -> int:
        """Shards that were complete already."""
        return sum(report.was_done for report in self.reports)


def prepare(
    task: ShardTask, runner: Runner, *, shards: Sequence[int] | None = None, label: str = "prepare"
) -> Prepared:
    """Run all shards of a corpus, or those named.

    Args:
        task: the corpus; its `shard` is ignored.
        runner: where the tasks run.
        shards: which shards; None for all.
        label: what the progress bar is called.

    Raises:
        DataError: not one utterance of all shards could be used, or the directory holds shards of another division.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    _check_division(task)
    run = uuid4().hex
    wanted = range(task.num_shards) if shards is None else shards
    tasks = [replace(task, shard=shard, run=run, is_alone=len(wanted) == 1) for shard in wanted]
    start = time.monotonic()
    prepared = Prepared(directory=task.out, reports=(), elapsed=0.0)
    with tqdm(total=len(tasks), desc=label, unit="shard", disable=len(tasks) == 1) as bar:
        for report in runner.run(prepare_shard, tasks):
            reports = (*prepared.reports, report)
            prepared = replace(prepared, reports=reports, elapsed=time.monotonic() - start)
            bar.set_postfix_str(_progress(prepared), refresh=False)
            bar.update()
    forget_parts()
    if shards is None:
        _remove_leftovers(task.out)
    _write_quarantine(prepared)
    if prepared.num_utterances == 0 and shards is None:
        first = next(iter(all_rejected(prepared.reports)), {"reason": "the source is empty"})
        raise DataError(f"{task.out}: no utterance could be used; the first reason: {first['reason']}")
    return prepared


def _progress(prepared: Prepared) -> str:
    parts = [f"{prepared.num_utterances} utterances", f"{prepared.num_seconds / 60:.1f} min"]
    if prepared.speed:
        parts.append(f"{prepared.speed:.0f} x real time")
    if prepared.num_reused:
        parts.append(f"{prepared.num_reused} reused")
    return ", ".join(parts)


def _remove_leftovers(directory: Path) -> None:
    """Of runs that were killed while they wrote; all shards are complete now."""
    for path in files(directory, ".*.partial"):
        path.unlink(missing_ok=True)


def _check_division(task: ShardTask) -> None:
    """Shards of two divisions side by side would be read as one corpus, with every utterance twice."""
    for path in files(task.out, "shard-*-of-*.parquet"):
        if not path.stem.endswith(f"-of-{task.num_shards:05d}"):
            raise DataError(
                f"{path}: a shard of another division than into {task.num_shards}: remove the old shards or choose "
                "another directory"
            )


def _write_quarantine(prepared: Prepared) -> None:
    """All rejected inputs of the directory, one JSON object a line; no file if there is none."""
    rows: list[str] = []
    for path in files(prepared.directory, "shard-*.json"):
        with suppress(ValueError, LookupError, TypeError):  # a damaged report: its shard will be made anew
            rows.extend([json.dumps(item) for item in json.loads(path.read_text())["rejected"]])
    target = prepared.directory / QUARANTINE
    if rows:
        with new_file(target) as partial:
            partial.write_text("\n".join(rows) + "\n")
    else:
        target.unlink(missing_ok=True)
