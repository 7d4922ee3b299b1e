"""`HubSource`: a Hugging Face dataset, saved on disk, as files in a folder, or on the hub, there streamed if asked.

Audio is not decoded by `datasets`, which needs torchcodec and FFmpeg for it: a path becomes a reference, bytes are
decoded by soundfile. Parts are dealt by row. A stream is dealt by file where it has as many and an `id` column tells
rows apart; otherwise each part reads all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from stlm.audio import decode_audio, probe_audio
from stlm.errors import ConfigError, DataError, PluginError, StlmError, did_you_mean
from stlm.interfaces import Source
from stlm.types import Audio, AudioRef, Rejected, Utterance


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the component ``hf_datasets``.

    Args:
        path: folder that ``save_to_disk`` wrote, folder of files that `datasets` reads (parquet, csv, json, audio), or
            name on the hub.
        subset: configuration of the dataset; empty: its only one.
        split: part by its name, or a slice of it as `datasets` writes them ("train[:1%]"; not for saved ones).
        revision: branch, tag or commit on the hub; empty: the newest.
        streaming: read over the network as it goes, and keep nothing on disk.
        audio: column of the sound; empty: text alone.
        text: column of the transcript; empty: speech alone.
        speaker: column of the speaker; empty: none.
        id: column that tells rows apart; empty: they are numbered.
        labels: columns that classifiers learn, kept under their names.
    """

    path: str = ""
    subset: str = ""
    split: str = "train"
    revision: str = ""
    streaming: bool = False
    audio: str = "audio"
    text: str = "text"
    speaker: str = ""
    id: str = ""
    labels: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        named = (self.audio, self.text, self.speaker, self.id, *self.labels)
        return list(dict.fromkeys(name for name in named if name))


def build(config: Config) -> HubSource:
    return HubSource(config)


class HubSource(Source):
    """Options as in `Config`.

    Raises:
        ConfigError: no path, neither audio nor text, or there is no such dataset, split or column.
        PluginError: `datasets` is not installed.
    """

    def __init__(self, config: Config) -> None:
        if not config.path:
            raise ConfigError("source hf_datasets needs path: set source.path=DIR, or a name on the hub")
        if not (config.audio or config.text):
            raise ConfigError("source hf_datasets needs the column audio or text, got neither")
        self.config = config
        datasets = _datasets()
        self._dataset = _load(datasets, config)
        features = self._dataset.features or {}  # a stream may not know them
        for column in config.columns if features else ():
            if column not in features:
                raise ConfigError(
                    f"{config.path}: no column {column!r}{did_you_mean(column, features)}, expected one of "
                    f"{', '.join(features)}: set source.audio, text, speaker, id or labels, to '' for none"
                )
        self._dataset = self._dataset.select_columns(config.columns)
        if isinstance(features.get(config.audio), datasets.Audio):
            self._dataset = self._dataset.cast_column(config.audio, datasets.Audio(decode=False))
        self._names = {
            column: feature.names for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)
        }

    def __len__(self) -> int:
        return 0 if self.config.streaming else len(self._dataset)

    def utterances(self, shard: int = 0, num_shards: int = 1) -> Iterator[Utterance | Rejected]:
        for place, row in self._rows(shard, num_shards):
            id = f"{self.config.split}:{place}" if not self.config.id else str(row[self.config.id])
            yield from self._read(id, row)

    def fingerprint(self, shard: int = 0, num_shards: int = 1) -> str:
        """Hash of names, sizes and times of the dataset's files on disk; a stream is known by its options alone."""
        files = [] if self.config.streaming else [Path(file["filename"]) for file in self._dataset.cache_files]
        states = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()

    def _rows(self, shard: int, num_shards: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        if not self.config.streaming:
            for place in range(shard, len(self._dataset), num_shards):
                yield place, self._dataset[place]
        elif self.config.id and num_shards <= self._dataset.num_shards:
            yield from enumerate(self._dataset.shard(num_shards=num_shards, index=shard))
        else:
            for place, row in enumerate(self._dataset):
                if place % num_shards == shard:
                    yield place, row

    def _read(self, id: str, row: Mapping[str, Any]) -> Iterator[Utterance | Rejected]:
        config = self.config
        text, audio = row.get(config.text), None
        try:
            if config.audio:
                audio = _sound(id, row.get(config.audio))
        except StlmError as error:
            yield Rejected(id=id, uri=config.path, reason=str(error))
            return
        if config.text and not (isinstance(text, str) and text.strip()):
            reason = f"{id}: {config.text!r} is {str(text)[:40]!r}, expected a text"
            yield Rejected(id=id, uri=config.path, reason=reason, kept_as="speech without text" if audio else None)
            text = None
        if audio or text:
            yield Utterance(
                id=id,
                audio=audio,
                text=text.strip() if text else None,
                speaker=self._said(row, config.speaker),
                labels={name: said for name in config.labels if (said := self._said(row, name)) is not None},
            )

    def _said(self, row: Mapping[str, Any], column: str) -> str | None:
        """A value as text, a class by its name."""
        value = row.get(column)
        if value is None:
            return None
        return self._names[column][value] if column in self._names else str(value)


def _sound(id: str, value: Any) -> Audio | AudioRef:
    """Audio of a cell: a path, or what `datasets` keeps of a file.

    Raises:
        DataError: it is neither, or cannot be read.
    """
    if isinstance(value, str):
        return probe_audio(value)
    path, content = (value.get("path"), value.get("bytes")) if isinstance(value, dict) else (None, None)
    if isinstance(path, str) and (content is None or (Path(path).is_absolute() and Path(path).exists())):
        return probe_audio(path)
    if isinstance(content, bytes):
        return decode_audio(content, id)
    raise DataError(f"{id}: the audio is {str(value)[:40]!r}, expected a path or the bytes of a file")


def _load(datasets: Any, config: Config) -> Any:
    path = Path(config.path)
    try:
        if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return datasets.load_dataset(
                config.path,
                config.subset or None,
                split=config.split,
                revision=config.revision or None,
                streaming=config.streaming,
            )
        found = datasets.load_from_disk(config.path)
        if isinstance(found, datasets.DatasetDict):
            found = found[config.split]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{config.path}: cannot be loaded as a dataset ({type(error).__name__}: {reason}), expected a folder or a "
            f"name on the hub that has the split {config.split!r}: check path, subset, split and the network"
        ) from error
    return found.to_iterable_dataset() if config.streaming else found


def _datasets() -> Any:
    try:
        return import_module("datasets")
    except ImportError as error:
        raise PluginError("source hf_datasets needs the package datasets: pip install 'stlm-datasets[hf]'") from error
