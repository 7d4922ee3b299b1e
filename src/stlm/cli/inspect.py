"""Show what is inside a directory of shards, a run directory or a format file.

  stlm inspect DIR|s3://BUCKET/DIR [--html FILE] [--verify]

Of shards: hours, words, units by stream, histograms, what was rejected and what made them. With --verify every fault of
the shards instead, one line each; the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stlm.store import ShardSet
    from stlm.store.quarantine import Reason
    from stlm.store.survey import Bar, StreamSurvey, Survey
    from stlm.types import StreamRule, Utterance

MOST_REASONS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", help="directory or URL of shards, run directory, or format.yaml")
    parser.add_argument("--num", type=int, default=3, help="utterances to show")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with plots")
    parser.add_argument("--verify", action="store_true", help="list every fault of the shards")


def run(arguments: argparse.Namespace) -> int:
    from stlm.errors import ConfigError, DataError
    from stlm.store.place import files, is_local, place

    path = place(arguments.path)
    if files(path, "*.parquet"):
        if arguments.verify:
            return show_faults(path)
        show_shards(path, arguments.num, arguments.html)
        return 0
    if arguments.verify or arguments.html:
        raise ConfigError(f"{path}: no *.parquet shard here, which --verify and --html are for")
    if is_local(path) and path.suffix in (".yaml", ".yml"):
        show_format(path)
    elif is_local(path) and (path / "format.yaml").exists():
        show_run(path)
    else:
        raise DataError(f"{path}: neither shards (*.parquet), nor a run directory (run.json), nor a format (.yaml)")
    return 0


def show_format(path: Path) -> None:
    from stlm.checkpoint import load_format

    format = load_format(path)
    print(f"{len(format.vocabulary)} ids, sha256 {format.sha256[:12]}, text after a marker: {format.after_marker}")
    for block in format.vocabulary.blocks:
        start = format.vocabulary.offset(block.name)
        last = block.num_ids - 1
        symbols = f"{block.show(0)} … {block.show(last)}"
        print(f"  {start:>7}..{start + last:<7} {block.name:<10} {symbols}")
    for name, layout in format.layouts.items():
        rules = ", ".join(_show_rule(rule) for rule in layout.rules)
        print(f"  layout {name}: {rules}")


def _show_rule(rule: StreamRule) -> str:
    flags = (" deduplicated" if rule.dedup else "") + (" (anchor)" if rule.anchor else "")
    return f"{rule.stream} at {rule.rate_hz:g} Hz{flags}"


def show_run(path: Path) -> None:
    from stlm.checkpoint import read_run_file

    run = read_run_file(path)
    for role, name in run["components"].items():
        print(f"{role:<18} {name}")
    print(", ".join(f"{name} {number}" for name, number in run["libraries"].items()))
    show_format(path / "format.yaml")


def show_shards(path: Path, num: int, html: Path | None) -> None:
    from itertools import islice

    from stlm.store import ShardSet
    from stlm.store.quarantine import QUARANTINE, reasons
    from stlm.store.survey import survey

    shards = ShardSet(path)
    found = survey(shards)
    facts = _facts(found, shards)
    rejected = reasons(path / QUARANTINE) if (path / QUARANTINE).exists() else []
    record = _record(path)
    for label, value in facts.items():
        print(f"{label:<12} {value}")
    for name, stream in found.streams.items():
        _show_stream(name, stream)
    for name, tally in found.histograms.items():
        _show_bars(name, tally.bars(16))
    if libraries := record.get("libraries"):
        print("\nmade with " + ", ".join(f"{name} {number}" for name, number in libraries.items()))
    _show_rejected(rejected)
    for utterance in islice(shards, max(0, num)):
        _show_utterance(utterance)
    if html is not None:
        from stlm.evals.report.shards import shards_page

        page = shards_page(found, where=str(path), facts=facts, rejected=rejected, run=record)
        html.write_text(page, encoding="utf-8", errors="backslashreplace")
        print(f"wrote {html}")


def _facts(found: Survey, shards: ShardSet) -> dict[str, str]:
    seconds, aligned = found.utterance_seconds.total, f"{found.aligned_share:.1%} of those with speech and text"
    time = f"{seconds / 3600:,.2f} hours" if seconds >= 3600 else f"{seconds / 60:.2f} minutes"
    facts = {
        "utterances": f"{found.num_utterances:,}, {found.num_with_both:,} of them with speech and text",
        "speech": f"{time} in {found.num_with_audio:,} utterances",
        "text": f"{found.words_per_utterance.total:,.0f} words, {found.num_characters:,} characters in "
        f"{found.num_with_text:,} utterances",
        "speakers": f"{len(found.speakers):,}",
        "word times": f"{found.num_words:,} words in {aligned}, {found.words_per_second:.2f} a second",
        "files": f"{len(shards.shards):,} shards, {shards.num_groups:,} row-groups",
    }
    return facts if found.num_words else {name: fact for name, fact in facts.items() if name != "word times"}


def _record(path: Path) -> dict[str, Any]:
    """What made the shards; empty where nothing says so."""
    from stlm.errors import DataError

    record = path / "run.json"
    if not record.exists():
        return {}
    try:
        found = json.loads(record.read_text())
        return {**found, "libraries": dict(found.get("libraries", {}))}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{record}: does not say what made the shards ({error}): prepare again, or remove it"
        ) from error


def _show_stream(name: str, stream: StreamSurvey) -> None:
    spec = stream.spec
    sizes = " × ".join(map(str, spec.codebook_sizes))
    print(f"\nstream {name}: {sizes} codes at {spec.frame_rate_hz:g} Hz, fingerprint {spec.fingerprint[:12]}")
    print(f"  {stream.num_frames:,} frames, {stream.num_runs:,} runs ({stream.runs_per_second:.2f} a second)")
    print(
        f"  {stream.share_used:.1%} of the codes occur, {stream.entropy:.2f} of at most {stream.most_entropy:.2f} bits "
        f"a frame, {stream.bits_per_second:.1f} bits a second after deduplication"
    )
    _show_bars("frames by rank of their code", stream.usage(8))


def _show_bars(name: str, bars: Sequence[Bar]) -> None:
    """Bars as text, the longest of 40 characters."""
    if not bars:
        return
    print(f"\n  {name}")
    most = max(bar.count for bar in bars) or 1
    for bar in bars:
        span = f"{bar.low:g} – {bar.high:g}" if bar.high < inf else f"from {bar.low:g}"
        drawn = "█" * round(40 * bar.count / most) or ("▏" if bar.count else "")
        print(f"  {span:>14} {drawn:<40} {bar.count:,}")


def _show_rejected(rejected: Sequence[Reason]) -> None:
    if not rejected:
        return
    print("\nnotes of what could not be used, or only in part")
    for reason in rejected[:MOST_REASONS]:
        kept = f" (kept as {reason.kept_as})" if reason.kept_as else ""
        print(f"  {reason.num:>8,} {reason.reason}{kept}; such as {reason.example}")
    if len(rejected) > MOST_REASONS:
        print(f"  {sum(reason.num for reason in rejected[MOST_REASONS:]):>8,} of other reasons")


def _show_utterance(utterance: Utterance) -> None:
    seconds = f"{utterance.audio.seconds:.2f} s" if utterance.audio else "no audio"
    print(f"\n{utterance.id}: {seconds}, {len(utterance.words)} words, {utterance.text!r}")
    for name, units in utterance.streams.items():
        print(f"  {name}: {' '.join(map(str, units.codes[:24].reshape(-1).tolist()))} …")


def show_faults(path: Path, parts: Collection[int] | None = None) -> int:
    """Print every fault of a directory of shards, one a line; the exit code is 1 if there is one."""
    from stlm.store import ShardSet
    from stlm.store.verify import verify

    num_faults = 0
    for fault in verify(path, parts):
        print(fault)
        num_faults += 1
    if not num_faults:
        shards = ShardSet(path)
        print(f"{shards.num_utterances} utterances in {len(shards.shards)} shards are sound")
    return 1 if num_faults else 0
