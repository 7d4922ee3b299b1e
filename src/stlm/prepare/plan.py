"""A corpus to a directory of shards, with its quarantine list and a summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from stlm.errors import DataError
from stlm.interfaces.stage import Runner
from stlm.prepare.encode import ShardReport, ShardTask, all_rejected, count_rejected, prepare_shard

QUARANTINE = "quarantine.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What preparation made.

    Args:
        directory: where the shards are.
        reports: one per shard.
    """

    directory: Path
    reports: tuple[ShardReport, ...]

    @property
    def num_utterances(self) -> int:
        return sum(report.num_utterances for report in self.reports)

    @property
    def num_seconds(self) -> float:
        return sum(report.num_seconds for report in self.reports)

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
        DataError: not one utterance could be used, or the directory holds shards of another division.
    """
    task.out.mkdir(parents=True, exist_ok=True)
    _check_division(task)
    wanted = list(range(task.num_shards)) if shards is None else list(shards)
    tasks = [replace(task, shard=shard) for shard in wanted]
    reports = []
    with tqdm(total=len(tasks), desc=label, unit="shard") as bar:
        for report in runner.run(prepare_shard, tasks):
            reports.append(report)
            bar.update()
            seconds = sum(item.num_seconds for item in reports)
            reused = f", {done} reused" if (done := sum(item.was_done for item in reports)) else ""
            utterances = sum(item.num_utterances for item in reports)
            bar.set_postfix_str(f"{utterances} utterances, {seconds / 60:.1f} min{reused}")
    prepared = Prepared(directory=task.out, reports=tuple(reports))
    _write_quarantine(prepared)
    if prepared.num_utterances == 0:
        first = next(iter(all_rejected(reports)), {"reason": "the source is empty"})
        raise DataError(f"{task.out}: no utterance could be used; the first reason: {first['reason']}")
    return prepared


def _check_division(task: ShardTask) -> None:
    """Shards of two divisions side by side would be read as one corpus, with every utterance twice."""
    for path in sorted(task.out.glob("shard-*-of-*.parquet")):
        if not path.stem.endswith(f"-of-{task.num_shards:05d}"):
            raise DataError(
                f"{path}: a shard of another division than into {task.num_shards}: remove the old shards or choose "
                "another directory"
            )


def _write_quarantine(prepared: Prepared) -> None:
    """All rejected inputs of the directory, one JSON object a line; no file if there is none."""
    rows: list[str] = []
    for path in sorted(prepared.directory.glob("shard-*.json")):
        with suppress(ValueError, LookupError, TypeError):  # a damaged report: its shard will be made anew
            rows.extend([json.dumps(item) for item in json.loads(path.read_text())["rejected"]])
    target = prepared.directory / QUARANTINE
    target.unlink(missing_ok=True)
    if rows:
        target.write_text("\n".join(rows) + "\n")
