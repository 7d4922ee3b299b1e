"""What a set of shards holds, in figures: row-group by row-group, columns as arrays, in memory that does not grow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from stlm.codec.merge import changes
from stlm.errors import FormatError
from stlm.store.manifest import ShardSet
from stlm.store.reader import Ragged
from stlm.store.schema import STREAM_PREFIX
from stlm.types import StreamSpec

COLUMNS = ("text", "speaker", "audio_sample_rate", "audio_num_samples", "word_start", "word_end")
MOST_BINS = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a histogram: `count` values from `low` to below `high`, which may be infinite."""

    low: float
    high: float
    count: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """How often values occur, in bins of one width from 0 on; what lies above 2**20 bins is counted in the last.

    Args:
        step: width of a bin.
        counts: ``int64[bins]``.
        total: sum of the values.
    """

    step: float = 1.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    total: float = 0.0

    def add(self, values: np.ndarray) -> None:
        # a value on an edge may have been rounded to just below it
        bins = np.clip(values / self.step + 1e-6, 0, MOST_BINS - 1).astype(np.int64)
        self.counts = _sum(self.counts, np.bincount(bins))
        self.total += float(values.sum())

    @property
    def num(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        return self.total / max(1, self.num)

    def quantile(self, share: float) -> float:
        """Lower edge of the bin in which so large a share of the values is reached."""
        return int(np.searchsorted(np.cumsum(self.counts), share * self.num)) * self.step

    def bars(self, num: int) -> list[Bar]:
        """At most `num` bars of one round width; the last is open where values lie above the 99th hundredth."""
        if not self.num:
            return []
        first, last = int(np.flatnonzero(self.counts)[0]), round(self.quantile(0.99) / self.step)
        width = _round_up((last + 1 - first) / max(1, num - 1))
        edges = np.arange(first // width, last // width + 1) * width
        highs = [*edges[1:].tolist(), edges[-1] + width if len(self.counts) <= edges[-1] + width else math.inf]
        counts = np.add.reduceat(self.counts, edges).tolist()
        return [
            Bar(low=round(low * self.step, 6), high=round(high * self.step, 6), count=count)
            for low, high, count in zip(edges.tolist(), highs, counts, strict=True)
        ]


@dataclass(slots=True, kw_only=True)
class StreamSurvey:
    """One stream.

    Args:
        spec: the stream.
        num_frames, num_runs: frames, and what deduplication leaves of them.
        counts, run_counts: ``int64[V]`` per codebook, how often each code occurs in frames and in runs.
        frames_per_word: frames whose midpoint lies in a word.
    """

    spec: StreamSpec
    num_frames: int = 0
    num_runs: int = 0
    counts: list[np.ndarray] = field(init=False)
    run_counts: list[np.ndarray] = field(init=False)
    frames_per_word: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.counts, self.run_counts = (
            [np.zeros(size, np.int64) for size in self.spec.codebook_sizes] for _ in range(2)
        )

    def add(self, units: Ragged, words: tuple[np.ndarray, np.ndarray, np.ndarray], rates: np.ndarray) -> None:
        """Count one row-group: its units; row, start and end of each word; the rows' sample rates."""
        frames = units.values.reshape(-1, self.spec.num_codebooks)
        offsets = np.asarray(units.offsets) // self.spec.num_codebooks
        is_first = changes(frames)
        is_first[offsets[:-1][np.diff(offsets) > 0]] = True
        runs = frames[is_first]
        self.num_frames += len(frames)
        self.num_runs += len(runs)
        for codebook in range(self.spec.num_codebooks):
            self.counts[codebook] += self._count(frames, codebook)
            self.run_counts[codebook] += self._count(runs, codebook)
        row, start, end = words
        lengths = np.diff(offsets)[row]
        first, last = (np.clip(self._frame_at(sample, rates[row]), 0, lengths) for sample in (start, end))
        self.frames_per_word.add((last - first)[lengths > 0])

    def _count(self, frames: np.ndarray, codebook: int) -> np.ndarray:
        size = self.spec.codebook_sizes[codebook]
        found = np.bincount(frames[:, codebook], minlength=size)
        if len(found) > size:
            raise FormatError(
                f"stream {self.spec.name!r}, codebook {codebook}: code {len(found) - 1} is outside 0..{size - 1}: "
                "stlm inspect --verify says where"
            )
        return found

    def _frame_at(self, samples: np.ndarray, rates: np.ndarray) -> np.ndarray:
        """Index of the first frame whose midpoint is not before a sample, as `stlm.types.utterance.frame_at`."""
        hop = self.spec.hop
        return -((hop * rates - 2 * samples * self.spec.sample_rate) // (2 * hop * rates))

    @property
    def seconds(self) -> float:
        return self.num_frames / self.spec.frame_rate_hz

    @property
    def runs_per_second(self) -> float:
        return self.num_runs / max(self.seconds, 1e-9)

    @property
    def share_used(self) -> float:
        """Share of the codes that occur."""
        return sum(int(np.count_nonzero(counts)) for counts in self.counts) / sum(self.spec.codebook_sizes)

    @property
    def entropy(self) -> float:
        """Bits of a frame, as if frames were independent; at most the sum of log2 of the codebooks' sizes."""
        return sum(map(entropy, self.counts))

    @property
    def most_entropy(self) -> float:
        return sum(map(math.log2, self.spec.codebook_sizes))

    @property
    def bits_per_second(self) -> float:
        """Entropy of a deduplicated unit times such units a second: the bitrate of the ZeroSpeech challenges."""
        return sum(map(entropy, self.run_counts)) * self.runs_per_second

    def usage(self, num: int) -> list[Bar]:
        """How often codes occur, from the most frequent on, in at most `num` bars; codebooks are added up by rank."""
        ranked = np.zeros(0, np.int64)
        for counts in self.counts:
            ranked = _sum(ranked, np.sort(counts)[::-1])
        width = max(1, math.ceil(len(ranked) / num))
        edges = range(0, len(ranked), width)
        return [
            Bar(low=low, high=min(low + width, len(ranked)), count=int(ranked[low : low + width].sum()))
            for low in edges
        ]


@dataclass(slots=True, kw_only=True)
class Survey:
    """A whole set.

    Args:
        streams: by name.
        num_utterances, num_with_audio, num_with_text, num_with_both: utterances.
        num_aligned: utterances with word times.
        num_characters: of all texts.
        aligned_seconds: of utterances with word times.
        speakers: their labels.
        utterance_seconds: where there is audio; in tenths.
        words_per_utterance: where there is text; what stands between blanks is a word.
        word_seconds: of words with times; in hundredths.
    """

    streams: dict[str, StreamSurvey]
    num_utterances: int = 0
    num_with_audio: int = 0
    num_with_text: int = 0
    num_with_both: int = 0
    num_aligned: int = 0
    num_characters: int = 0
    aligned_seconds: float = 0.0
    speakers: set[str] = field(default_factory=set)
    utterance_seconds: Tally = field(default_factory=lambda: Tally(step=0.1))
    words_per_utterance: Tally = field(default_factory=Tally)
    word_seconds: Tally = field(default_factory=lambda: Tally(step=0.01))

    def add(self, table: pa.Table) -> None:
        """Count one row-group."""
        rates, samples = (_whole_numbers(table.column(name)) for name in ("audio_sample_rate", "audio_num_samples"))
        has_audio = rates > 0
        seconds = samples / np.maximum(rates, 1)
        text = table.column("text")
        has_text = text.is_valid().to_numpy()
        starts, ends = Ragged(table.column("word_start")), Ragged(table.column("word_end"))
        num_words = np.diff(starts.offsets)
        row = np.repeat(np.arange(len(num_words)), num_words)
        timed = has_audio[row]
        words = row[timed], starts.values[timed], ends.values[timed]
        texts = text.drop_null().to_pylist()
        self.num_utterances += len(rates)
        self.num_with_audio += int(has_audio.sum())
        self.num_with_text += int(has_text.sum())
        self.num_with_both += int((has_audio & has_text).sum())
        self.num_aligned += int((num_words > 0).sum())
        self.num_characters += sum(map(len, texts))
        self.aligned_seconds += float(seconds[num_words > 0].sum())
        self.speakers.update(table.column("speaker").drop_null().unique().to_pylist())
        self.utterance_seconds.add(seconds[has_audio])
        self.words_per_utterance.add(np.fromiter((len(text.split()) for text in texts), np.int64, len(texts)))
        self.word_seconds.add((words[2] - words[1]) / rates[words[0]])
        for name, stream in self.streams.items():
            stream.add(Ragged(table.column(STREAM_PREFIX + name)), words, rates)

    @property
    def histograms(self) -> dict[str, Tally]:
        """All tallies by what they count."""
        return {
            "seconds of an utterance": self.utterance_seconds,
            "words of an utterance": self.words_per_utterance,
            "seconds of a word": self.word_seconds,
            **{f"{name} frames of a word": stream.frames_per_word for name, stream in self.streams.items()},
        }

    @property
    def num_words(self) -> int:
        """Words with times."""
        return self.word_seconds.num

    @property
    def words_per_second(self) -> float:
        return self.num_words / max(self.aligned_seconds, 1e-9)

    @property
    def aligned_share(self) -> float:
        """Share of the utterances with speech and text that have word times."""
        return self.num_aligned / max(1, self.num_with_both)


def survey(shards: ShardSet) -> Survey:
    """Count all row-groups of a set.

    Raises:
        DataError: a row-group is damaged.
        FormatError: a code lies outside its codebook.
    """
    found = Survey(streams={name: StreamSurvey(spec=spec) for name, spec in shards.streams.items()})
    columns = [*COLUMNS, *(STREAM_PREFIX + name for name in shards.streams)]
    with tqdm(total=shards.num_utterances, desc="inspect", unit="utterance", leave=False) as bar:
        for shard in shards.shards:
            for index in range(shard.num_groups):
                table = shard.table(index, columns)
                found.add(table)
                bar.update(table.num_rows)
    return found


def entropy(counts: np.ndarray) -> float:
    """Bits of a draw from counted values."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return float(-(shares * np.log2(shares)).sum())


def _round_up(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, …"""
    power = 10 ** max(0, math.floor(math.log10(width)))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= width)


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    total = longer.copy()
    total[: len(shorter)] += shorter
    return total


def _whole_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """``int64[N]``, 0 where there is none."""
    return pc.fill_null(column, 0).to_numpy().astype(np.int64)
