"""A whole system behind generate() and score(): codec, encoders, backbone and vocoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stlm.audio import read_audio
from stlm.codec import Codec, Delta, StreamParser, align
from stlm.errors import ConfigError, DataError, FormatError, did_you_mean
from stlm.generate import Engine, GenerationOptions, log_likelihoods
from stlm.interfaces.backbone import BackboneLM
from stlm.interfaces.unit_encoder import SpeechUnitEncoder, encode_streams
from stlm.interfaces.vocoder import Vocoder
from stlm.types import (
    AlignedUnits,
    Audio,
    AudioRef,
    Document,
    Marker,
    Piece,
    Span,
    Speech,
    SpeechSpan,
    TextSpan,
    Units,
    UnitSpan,
)

TARGETS = ("text", "speech", "any")


def Text(text: str) -> TextSpan:
    """A piece of text for prompts."""
    return TextSpan(text=text)


def SpeechFile(path: str | Path) -> Speech:
    """A piece of speech for prompts, from an audio file."""
    from stlm.audio import probe_audio

    return Speech(audio=probe_audio(path))


def encode_audio(
    codec: Codec,
    encoders: Mapping[str, SpeechUnitEncoder],
    batch: Sequence[str | Path | Audio | AudioRef],
    *,
    layout: str = "default",
) -> list[SpeechSpan]:
    """Speech units of recordings in every stream of a layout; each file is read once.

    Raises:
        ConfigError: a stream has no encoder.
        DataError: a file cannot be read.
    """
    names = codec.format.layout(layout).stream_names
    missing = [name for name in names if name not in encoders]
    if missing:
        raise ConfigError(f"the system has no encoder for stream {missing[0]!r}, only {sorted(encoders)}")
    loaded = [item if isinstance(item, Audio) else read_audio(item) for item in batch]
    by_stream = encode_streams({name: encoders[name] for name in names}, loaded)
    return [
        SpeechSpan(streams={name: by_stream[name][index] for name in names}, layout=layout)
        for index in range(len(loaded))
    ]


def anchor_units(codec: Codec, span: SpeechSpan) -> Units:
    """The units that carry time in a recording; none of them, nothing said."""
    layout = codec.format.layout(span.layout)
    return span.streams[layout.rules[layout.anchor].stream]


class SpeechTextLM:
    """Reads, listens, writes and speaks.

    Args:
        codec: documents to ids.
        encoders: speech unit encoders by stream name.
        backbone: the language model.
        vocoder: units to sound, or None for systems that only listen.
        components: where each part came from: role to ``dist/name``, for saving.
    """

    def __init__(
        self,
        codec: Codec,
        encoders: Mapping[str, SpeechUnitEncoder],
        backbone: BackboneLM,
        vocoder: Vocoder | None = None,
        components: Mapping[str, str] | None = None,
    ) -> None:
        self.codec = codec
        self.encoders = dict(encoders)
        self.backbone = backbone
        if vocoder is not None:
            check_vocoder(codec, vocoder)
        self.vocoder = vocoder
        self.components = dict(components or {})

    def encode(self, *audio: str | Path | Audio | AudioRef, layout: str = "default") -> Document:
        """Speech units of one or more recordings, one SpeechSpan each."""
        return tuple(self.encode_batch(audio, layout=layout))

    def encode_batch(
        self, batch: Sequence[str | Path | Audio | AudioRef], *, layout: str = "default"
    ) -> list[SpeechSpan]:
        """Speech units of many recordings; each file is read once for all streams."""
        return encode_audio(self.codec, self.encoders, batch, layout=layout)

    def document(self, pieces: Sequence[Piece | str]) -> Document:
        """A document of pieces: strings are text, `Speech` pieces are encoded, texts in a row are one text.

        Raises:
            DataError: a piece of speech is too short for a single unit.
        """
        waiting = [piece.audio for piece in pieces if isinstance(piece, Speech)]
        spans = self.encode_batch(waiting) if waiting else []
        for audio, span in zip(waiting, spans, strict=True):
            if not len(anchor_units(self.codec, span)):
                name = audio.uri if isinstance(audio, AudioRef) else "a piece of speech"
                raise DataError(f"{name}: {audio.seconds:.3f} s are too short for a single unit: leave it out")
        encoded = iter(spans)
        made = (
            TextSpan(text=piece) if isinstance(piece, str) else next(encoded) if isinstance(piece, Speech) else piece
            for piece in pieces
        )
        return join_texts(made)

    def prompt_ids(self, document: Document, to: str) -> np.ndarray:
        """Ids of a prompt that is to go on in modality `to`; its marker is written where the modality changes."""
        if to not in TARGETS:
            raise ConfigError(f"generation goes to one of {', '.join(TARGETS)}, got {to!r}{did_you_mean(to, TARGETS)}")
        ids = self.codec.encode(document, eos=False).ids
        if to == "any":
            return ids
        last = next((span for span in reversed(document)), None)
        current = (
            None if last is None or isinstance(last, Marker) else "text" if isinstance(last, TextSpan) else "speech"
        )
        if current == to:
            return ids
        markers = self.codec.format.markers
        symbol = markers.text if to == "text" else markers.speech
        return np.append(ids, self.codec.format.vocabulary.id_of(symbol)).astype(ids.dtype)

    def allowed(self, to: str) -> np.ndarray:
        """``bool[V]``: ids that generation towards `to` may choose; the end id is always allowed."""
        format = self.codec.format
        speech, text = format.speech_blocks, {"text"}
        mask = format.vocabulary.mask(allow={"text": text, "speech": speech, "any": text | speech}[to])
        if to == "any":
            mask[[format.vocabulary.id_of(format.markers.text), format.vocabulary.id_of(format.markers.speech)]] = True
        # a text block may be larger than its tokenizer, which knows no text for the rest
        start = format.vocabulary.offset("text")
        mask[start + self.codec.text_encoder.vocab_size : start + format.vocabulary.block("text").num_ids] = False
        if format.pad is not None:
            mask[format.pad] = False
        if format.bos is not None:
            mask[format.bos] = False
        if format.eos is not None:
            mask[format.eos] = True
        return mask

    def generate(
        self,
        prompt: Sequence[Piece | str],
        *,
        to: str = "any",
        max_new_tokens: int = 200,
        temperature: float = 0.8,
        top_p: float = 0.95,
        top_k: int = 0,
        seed: int = 0,
    ) -> Document:
        """Continue one prompt; the result holds what is new.

        Raises:
            ConfigError: `to` is no modality, or a sampling option is out of range.
        """
        options = GenerationOptions(
            max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed
        )
        return self.generate_batch([self.document(prompt)], to=to, options=options)[0]

    def generate_batch(
        self,
        prompts: Sequence[Document],
        *,
        to: str = "any",
        options: GenerationOptions | None = None,
        force: bool = True,
    ) -> list[Document]:
        """Continue many prompts at once; see `continue_ids`."""
        given = [self.prompt_ids(prompt, to) for prompt in prompts]
        written = self.continue_ids(given, to=to, options=options, force=force)
        return [
            self.codec.decode(ids, at_start=not continues_text(prompt, to))
            for prompt, ids in zip(prompts, written, strict=True)
        ]

    def continue_ids(
        self,
        prompts: Sequence[np.ndarray],
        *,
        to: str = "any",
        options: GenerationOptions | None = None,
        force: bool = True,
    ) -> list[np.ndarray]:
        """New ids of each prompt, ``int64[N]``, with the end id where the model wrote one.

        Args:
            prompts: ids, as `prompt_ids` gives them.
            to: "text", "speech" or "any".
            options: how to sample.
            force: False asks for `to` by its marker alone and forbids nothing.
        """
        stop = [self.codec.format.eos] if self.codec.format.eos is not None else []
        allowed = self.allowed(to) if force else np.ones(len(self.codec.format.vocabulary), bool)
        self.backbone.eval()
        return Engine(self.backbone).generate(prompts, options or GenerationOptions(), allowed=allowed, stop_ids=stop)

    def stream(
        self,
        prompt: Document,
        *,
        to: str = "any",
        options: GenerationOptions | None = None,
        parser: StreamParser | None = None,
    ) -> Iterator[Delta]:
        """Continue one prompt and yield text and units as they come; `parser` then holds the whole document."""
        parser = parser or StreamParser(self.codec, at_start=not continues_text(prompt, to))
        stop = [self.codec.format.eos] if self.codec.format.eos is not None else []
        self.backbone.eval()
        steps = Engine(self.backbone).stream(
            [self.prompt_ids(prompt, to)], options or GenerationOptions(), allowed=self.allowed(to), stop_ids=stop
        )
        for step in steps:
            yield from parser.push(step.id)
        yield from parser.finish()

    def score(
        self, prompt: Sequence[Piece | str], candidates: Sequence[Sequence[Piece | str] | str]
    ) -> list[tuple[float, float]]:
        """Log-likelihood of each candidate after the prompt: (sum, mean per id). Markers are not counted.

        Raises:
            DataError: a candidate has nothing that counts (no text and no unit of speech).
        """
        given = self.document(prompt)
        start = len(self.codec.encode(given, eos=False))
        documents = [given + self.document([item] if isinstance(item, str) else item) for item in candidates]
        sequences = [self.codec.encode(document, eos=False).ids for document in documents]
        counted = [self.codec.kind_of(ids[start:]) > 0 for ids in sequences]
        for number, counts in enumerate(counted):
            if not counts.any():
                raise DataError(
                    f"candidate {number} has no text and no unit of speech, so it has no likelihood: leave it out"
                )
        self.backbone.eval()
        scored = log_likelihoods(self.backbone, sequences)
        kept = [values[start:][counts] for values, counts in zip(scored, counted, strict=True)]
        return [(float(values.sum()), float(values.mean())) for values in kept]

    def synthesize(
        self, document: Document, *, voice: str | int | None = None, style: str | int | None = None
    ) -> Audio:
        """Speak every speech span of a document, one after the other.

        Raises:
            DataError: the document holds no speech.
            ConfigError: the system has no vocoder.
        """
        return speak(self.codec, self._vocoder(), document, voice=voice, style=style)

    def speak(self, units: AlignedUnits, voice: str | int | None = None, style: str | int | None = None) -> Audio:
        """Audio of aligned units."""
        return self._vocoder().synthesize(units, voice=voice, style=style)

    def _vocoder(self) -> Vocoder:
        if self.vocoder is None:
            raise ConfigError("this system has no vocoder: choose one with vocoder=NAME when you train it")
        return self.vocoder


def check_vocoder(codec: Codec, vocoder: Vocoder) -> None:
    """Raise FormatError if a vocoder was made for other units than the codec's: their codes mean something else."""
    for name, fingerprint in vocoder.accepts.items():
        spec = codec.streams.get(name)
        if spec is not None and spec.fingerprint != fingerprint:
            raise FormatError(
                f"the vocoder was made for stream {name!r} of encoder {fingerprint[:12]}, this system's is "
                f"{spec.fingerprint[:12]}: give both the same codebook"
            )


def speak(
    codec: Codec,
    vocoder: Vocoder,
    document: Document,
    *,
    voice: str | int | None = None,
    style: str | int | None = None,
) -> Audio:
    """Every speech span of a document, one after the other.

    Raises:
        DataError: the document holds no speech.
    """
    check_vocoder(codec, vocoder)
    spans = [span for span in document if isinstance(span, SpeechSpan | UnitSpan)]
    if not spans:
        raise DataError("the document holds no speech to synthesize: generate with to='speech'")
    audio = [vocoder.synthesize(align(span, codec.format.layout(span.layout)), voice, style) for span in spans]
    return Audio(samples=np.concatenate([item.samples for item in audio]), sample_rate=audio[0].sample_rate)


def join_texts(spans: Iterable[Span]) -> Document:
    """Spans with neighbouring texts joined, since a tokenizer sees more in "look" + "ed" than in the two."""
    joined: list[Span] = []
    for span in spans:
        last = joined[-1] if joined else None
        if isinstance(span, TextSpan) and isinstance(last, TextSpan) and span.loss == last.loss:
            joined[-1] = TextSpan(text=last.text + span.text, loss=span.loss)
        else:
            joined.append(span)
    return tuple(joined)


def continues_text(prompt: Document, to: str) -> bool:
    """Whether generation goes on with the text that the prompt ends in."""
    return to != "speech" and bool(prompt) and isinstance(prompt[-1], TextSpan)


def load(
    system: str | Path,
    checkpoint: str | Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> SpeechTextLM:
    """Load a run directory, or a preset such as ``spiritlm-expressive`` with the directory of its checkpoint.

    Args:
        system: a run directory or the name of a preset.
        checkpoint: where the preset's weights are.
        options: changes to options of parts, ``{"encoders.hubert.precision": "bf16"}``.
        device: where all parts compute, such as ``"cuda"``.

    Raises:
        ConfigError: it is neither a run directory nor a preset, or the preset has no checkpoint directory.
        DataError: the directory or one of its files is missing or damaged.
        FormatError: the format, tokenizer or an encoder is not the one that the model was trained with.
    """
    from stlm.parts import open_parts

    return open_parts(system, checkpoint, options, device).build_system(device=device)
