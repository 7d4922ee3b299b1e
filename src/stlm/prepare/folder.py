"""A folder of recordings as a source: audio with ``.txt`` beside it, or a ``manifest.jsonl``.

A manifest row is ``{"audio": path, "text": …, "id": …, "speaker": …, "words": [{"word", "start", "end"}]}`` with times
in seconds and paths relative to the manifest; everything but ``audio`` is optional. Word times may also lie in the
files of an aligner (`stlm.prepare.alignments`): a TextGrid beside a recording, or what ``alignments`` names.
"""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from stlm.audio import containers
from stlm.errors import DataError
from stlm.prepare.recorded import Config, Entry, RecordedSource, not_utf8

__all__ = ["Config", "FolderSource", "build"]

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", *containers.SUFFIXES)


class FolderSource(RecordedSource):
    """Recordings of a folder; options as in `Config`."""

    expected = "audio files (.wav, .flac, .mp3, .ogg, .opus, .m4a, …) or a manifest.jsonl"

    def __init__(
        self,
        path: str | Path,
        part: str = "all",
        parts: int = 10,
        skip: Collection[str] = (),
        alignments: str | Path = "",
    ) -> None:
        super().__init__(Config(path=str(path), part=part, parts=parts, skip=tuple(skip), alignments=str(alignments)))

    def entries_of_corpus(self) -> Iterator[Entry]:
        manifest = self.path / "manifest.jsonl"
        if manifest.exists():
            yield from _manifest_entries(manifest)
            return
        found = sorted(path for path in self.path.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
        names = Counter(path.with_suffix("") for path in found)
        for audio in found:
            name = audio.relative_to(self.path)
            name = str(name if names[audio.with_suffix("")] > 1 else name.with_suffix(""))
            text, note = _transcript(audio.with_suffix(".txt"))
            yield Entry(id=name, audio=audio, text=text, row={}, note=note)


def _transcript(path: Path) -> tuple[str | None, str | None]:
    """The words of a transcript file, or what is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        return None, f"the transcript {path.name} {not_utf8(error)}"
    except OSError as error:
        return None, f"the transcript {path.name} cannot be read ({error.strerror}): expected a text file"
    return text or None, None if text else f"no transcript: expected {path.name} beside it with the spoken words"


def _manifest_entries(manifest: Path) -> Iterator[Entry]:
    try:
        content = manifest.read_bytes()
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}), expected one JSON object a line") from error
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
            audio = manifest.parent / row["audio"]
            text = row.get("text") or None
            if not isinstance(text, str | None):
                raise TypeError(f"'text' is {text!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            reason = f"line {number} is not a JSON object with an 'audio' path ({type(error).__name__}: {error})"
            yield Entry(id=f"{manifest.name}:{number}", audio=manifest, text=None, row={"broken": reason})
            continue
        note = None if text else f"no transcript: line {number} has no 'text'"
        yield Entry(id=str(row.get("id", Path(row["audio"]).stem)), audio=audio, text=text, row=row, note=note)


def build(config: Config) -> FolderSource:
    return FolderSource(config.path, config.part, config.parts, config.skip, config.alignments)
