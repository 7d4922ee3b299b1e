"""Document to ids and back: one codec serves training, prompts, evaluation and parsing.

Cost: a speech-only document of one stream takes a handful of NumPy calls; text costs what its tokenizer costs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

import numpy as np

from stlm.codec.merge import changes, merge, stream_of
from stlm.errors import FormatError
from stlm.interfaces.unit_encoder import TextUnitEncoder
from stlm.types import (
    Document,
    Format,
    Marker,
    SpeechSpan,
    StreamSpec,
    TextSpan,
    TextUnits,
    TokenSequence,
    UnitSpan,
)

TEXT_BLOCK = "text"


class Codec:
    """Encodes documents by a format.

    Args:
        format: the vocabulary and its rules.
        text_encoder: subword tokenizer; its size must not exceed the format's text block.
        streams: the specification of each stream that a layout names.

    Raises:
        FormatError: a block is too small for its tokenizer or codebook, or a stream is missing.
    """

    def __init__(self, format: Format, text_encoder: TextUnitEncoder, streams: Mapping[str, StreamSpec]) -> None:
        self.format = format
        self.text_encoder = text_encoder
        self.streams = dict(streams)
        vocabulary = format.vocabulary
        self.text_offset = vocabulary.offset(TEXT_BLOCK)
        _check_sizes(format, text_encoder, self.streams)
        self._markers = {
            "text": np.array([vocabulary.id_of(format.markers.text)], np.int32),
            "speech": np.array([vocabulary.id_of(format.markers.speech)], np.int32),
        }
        self._begin = self._begin_ids()
        self._fingerprints = {name: spec.fingerprint for name, spec in self.streams.items()}
        self._offsets = {
            name: np.array([vocabulary.offset(rule.stream) for rule in layout.rules], np.int32)
            for name, layout in format.layouts.items()
        }
        self._sizes = {
            name: np.array([vocabulary.block(rule.stream).size for rule in layout.rules], np.int32)
            for name, layout in format.layouts.items()
        }

    def _begin_ids(self) -> np.ndarray:
        """What stands before a document."""
        begin = [] if self.format.bos is None else [self.format.bos]
        if self.format.legacy_marker_prefix:
            begin += [id + self.text_offset for id in self.text_encoder.encode_ids(" ")]
        return np.array(begin, np.int32)

    @property
    def fingerprint(self) -> str:
        """Hash of format, text tokenizer and streams; a checkpoint stores it."""
        streams = {name: spec.fingerprint for name, spec in sorted(self.streams.items())}
        parts = [self.format.sha256, self.text_encoder.fingerprint, streams]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def encode(self, document: Document, *, bos: bool = True, eos: bool = True) -> TokenSequence:
        """Ids of a document; a modality marker is written wherever text and speech change.

        Args:
            document: spans in order.
            bos, eos: write the format's begin and end ids, where it has them; prompts leave the end open.
        """
        pieces: list[np.ndarray] = []
        losses: list[bool] = []
        if bos and self.format.bos is not None:
            pieces.append(self._begin)
            losses.append(False)
        modality = None
        for span in document:
            if isinstance(span, Marker):
                pieces.append(np.array([self.format.vocabulary.id_of(span.name)], np.int32))
                losses.append(span.loss)
                modality = None
                continue
            kind = "text" if isinstance(span, TextSpan) else "speech"
            after_marker = kind != modality
            if after_marker:
                pieces.append(self._markers[kind])
                losses.append(span.loss)
                modality = kind
            pieces.append(self._span_ids(span, after_marker))
            losses.append(span.loss)
        if eos and self.format.eos is not None:
            pieces.append(np.array([self.format.eos], np.int32))
            losses.append(bool(losses) and losses[-1])
        return _join(pieces, losses)

    def _span_ids(self, span: TextSpan | SpeechSpan | UnitSpan, after_marker: bool) -> np.ndarray:
        if isinstance(span, TextSpan):
            return self._text_ids(span, after_marker)
        if isinstance(span, SpeechSpan):
            return self._speech_ids(span)
        return self._event_ids(span)

    def _text_ids(self, span: TextSpan, after_marker: bool) -> np.ndarray:
        # without a prefix the space that stands before a later word goes: those ids must be made anew
        drops_space = after_marker and self.format.after_marker == "no_prefix" and span.text.startswith(" ")
        if span.units is not None and not drops_space:
            if span.units.fingerprint != self.text_encoder.fingerprint:
                raise FormatError(
                    f"text was pre-encoded by tokenizer {span.units.fingerprint[:12]}, this format uses "
                    f"{self.text_encoder.fingerprint[:12]}: prepare the shards again or drop their text ids"
                )
            ids = np.asarray(span.units.ids, np.int32)
        else:
            text = self._start_text(span.text) if after_marker else span.text
            ids = np.array(self.text_encoder.encode_ids(text), np.int32)
        return ids + self.text_offset if self.text_offset else ids

    def _start_text(self, text: str) -> str:
        if self.format.after_marker == "no_prefix":
            return text.removeprefix(" ")
        return text if text.startswith(" ") else " " + text

    def encode_text(self, text: str) -> TextUnits:
        """Subword ids of a whole text as it would stand after a marker, with offsets into the text itself."""
        started = self._start_text(text)
        units = self.text_encoder.encode(started)
        shift = len(started) - len(text)
        return replace(units, char_offsets=np.maximum(units.char_offsets - shift, 0))

    def _speech_ids(self, span: SpeechSpan) -> np.ndarray:
        layout = self.format.layout(span.layout)
        for name, units in span.streams.items():
            expected = self._fingerprints.get(name)
            if expected is not None and units.spec.fingerprint != expected:
                raise FormatError(
                    f"stream {name!r} was made by encoder {units.spec.fingerprint[:12]}, this format uses "
                    f"{expected[:12]}: encode the audio with the encoder that belongs to the checkpoint"
                )
        if len(layout.rules) == 1:
            rule = layout.rules[0]
            codes = stream_of(span, rule.stream).codes
            if codes.shape[1] == 1:
                kept = codes[changes(codes), 0] if rule.dedup else codes[:, 0]
                return kept.astype(np.int32) + self._offsets[span.layout][0]
        return self._event_ids(merge(span, layout))

    def _event_ids(self, span: UnitSpan) -> np.ndarray:
        self.format.layout(span.layout)
        offsets, sizes = self._offsets[span.layout], self._sizes[span.layout]
        return offsets[span.stream] + span.codebook.astype(np.int32) * sizes[span.stream] + span.code

    def decode(self, ids: np.ndarray | Iterable[int], *, at_start: bool = True) -> Document:
        """The document of a sequence of ids; begin, end, padding and modality markers leave no span.

        Args:
            ids: ids of the format.
            at_start: False where the ids go on with a text, whose next word then keeps its space.
        """
        ids = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        if len(self._begin) and np.array_equal(ids[: len(self._begin)], self._begin):
            ids = ids[len(self._begin) :]
        specials = [id for id in (self.format.bos, self.format.eos, self.format.pad) if id is not None]
        ids = ids[~np.isin(ids, specials)]
        if not len(ids):
            return ()
        spans: list[TextSpan | UnitSpan | Marker] = []
        kinds = self.kind_of(ids)
        cuts = np.flatnonzero(np.diff(kinds)) + 1
        for run, kind in zip(np.split(ids, cuts), kinds[np.concatenate([[0], cuts])], strict=True):
            if kind == 0:
                spans.extend(self._marker_spans(run))
                at_start = True
            elif kind == 1:
                spans.append(TextSpan(text=self.text_of(run, at_start=at_start)))
                at_start = False
            else:
                spans.extend(self.events_of(part) for part in self._by_layout(run))
                at_start = True
        return tuple(spans)

    def kind_of(self, ids: np.ndarray) -> np.ndarray:
        """``int64[S]``: 0 for markers, 1 for text, 2 for speech units."""
        return self._block_kinds()[self.format.vocabulary.block_of(ids)]

    def kind_of_all(self) -> np.ndarray:
        """``int64[V]``: the kind of every id."""
        return self.kind_of(np.arange(len(self.format.vocabulary)))

    def _block_kinds(self) -> np.ndarray:
        speech = self.format.speech_blocks
        blocks = self.format.vocabulary.blocks
        return np.array([1 if block.name == TEXT_BLOCK else 2 if block.name in speech else 0 for block in blocks])

    def _marker_spans(self, ids: np.ndarray) -> list[Marker]:
        silent = {self.format.markers.text, self.format.markers.speech}
        names = [self.format.vocabulary.show(int(id)) for id in ids]
        return [Marker(name=name) for name in names if name not in silent]

    def text_of(self, ids: np.ndarray, *, at_start: bool) -> str:
        """Text of ids from the text block; right after a marker the leading space is not part of it."""
        text = self.text_encoder.decode((ids - self.text_offset).tolist())
        return text.removeprefix(" ") if at_start and self.format.after_marker == "space" else text

    def events_of(self, ids: np.ndarray) -> UnitSpan:
        """Unit events of ids from the speech blocks."""
        vocabulary = self.format.vocabulary
        blocks = vocabulary.block_of(ids)
        names = self._names(blocks)
        layout_name = self.layout_of(names)
        if layout_name is None:
            raise FormatError(f"no layout of the format holds the streams {sorted(names)}")
        layout = self.format.layout(layout_name)
        orders = np.zeros(len(vocabulary.blocks), np.uint8)
        for order, name in enumerate(layout.stream_names):
            orders[vocabulary.index(name)] = order
        stream = orders[blocks]
        local = ids - self._offsets[layout_name][stream]
        codebook, code = np.divmod(local, self._sizes[layout_name][stream])
        return UnitSpan(
            stream=stream, codebook=codebook.astype(np.uint8), code=code.astype(np.uint16), layout=layout_name
        )

    def layout_of(self, names: Set[str]) -> str | None:
        """The first layout that holds all these streams, or None."""
        holding = (name for name, layout in self.format.layouts.items() if names <= set(layout.stream_names))
        return next(holding, None)

    def _names(self, blocks: np.ndarray) -> set[str]:
        return {self.format.vocabulary.blocks[int(block)].name for block in np.unique(blocks)}

    def _by_layout(self, ids: np.ndarray) -> list[np.ndarray]:
        """Cut speech ids where no layout holds what comes before and after (semantic units, then acoustic ones)."""
        blocks = self.format.vocabulary.block_of(ids)
        if self.layout_of(self._names(blocks)) is not None:
            return [ids]
        cuts: list[int] = []
        names: set[str] = set()
        for start in [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist()]:
            name = self.format.vocabulary.blocks[int(blocks[start])].name
            if self.layout_of(names | {name}) is None:
                cuts.append(start)
                names = set()
            names.add(name)
        return np.split(ids, cuts)

    def to_string(self, document: Document) -> str:
        """A view for people and logs; markers are shown if the document holds both modalities."""
        modalities = {isinstance(span, TextSpan) for span in document if not isinstance(span, Marker)}
        shown: list[str] = []
        modality = None
        for span in document:
            if isinstance(span, Marker):
                shown.append(span.name)
                modality = None
                continue
            kind = "text" if isinstance(span, TextSpan) else "speech"
            if len(modalities) > 1 and kind != modality:
                shown.append(self.format.markers.text if kind == "text" else self.format.markers.speech)
            modality = kind
            if isinstance(span, TextSpan):
                shown.append(span.text)
            else:
                shown.extend(self.format.vocabulary.show(int(id)) for id in self._span_ids(span, False))
        return "".join(shown)


def _join(pieces: list[np.ndarray], losses: list[bool]) -> TokenSequence:
    ids = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
    if all(losses):
        return TokenSequence(ids=ids, loss=np.ones(len(ids), bool))
    loss = np.repeat(np.array(losses, bool), [len(piece) for piece in pieces])
    return TokenSequence(ids=ids, loss=loss)


def _check_sizes(format: Format, text_encoder: TextUnitEncoder, streams: Mapping[str, StreamSpec]) -> None:
    text = format.vocabulary.block(TEXT_BLOCK)
    if text_encoder.vocab_size > text.num_ids:
        raise FormatError(
            f"the text tokenizer has {text_encoder.vocab_size} ids, the format's text block holds {text.num_ids}: "
            "enlarge the block or train a smaller tokenizer"
        )
    for name in sorted(format.speech_blocks):
        block = format.vocabulary.block(name)
        if name not in streams:
            raise FormatError(f"the format uses stream {name!r}, but only {sorted(streams)} have an encoder")
        spec = streams[name]
        if max(spec.codebook_sizes) > block.size or spec.num_codebooks > block.codebooks:
            raise FormatError(
                f"stream {name!r} has codebooks {spec.codebook_sizes}, block {name!r} holds "
                f"{block.codebooks} of {block.size}"
            )
