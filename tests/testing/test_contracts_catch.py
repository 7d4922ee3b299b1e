"""Each law of each contract is broken once on purpose, and the law notices: a law that cannot fail is none."""

from __future__ import annotations

import inspect
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stlm.errors import StlmError
from stlm.interfaces import Hidden
from stlm.interleave import Unimodal, WordSpans
from stlm.prepare import LocalRunner
from stlm.testing import contracts, fakes
from stlm.testing.factories import make_corpus
from stlm.types import Audio, Rejected, TextSpan, TextUnits, Units

TICKS = itertools.count()


@dataclass
class Case:
    """A broken part, and the laws of its contract that must fail for it."""

    contract: str
    part: Callable[[], Any]
    laws: tuple[str, ...]
    fixture: str | None = None
    reload: Callable[[Path], Any] | None = None


# ---- speech unit encoders


class Encoder(fakes.EnergyEncoder):
    """Honest, with one place to break it."""

    def change(self, codes: np.ndarray, audio: Audio, batch: list[Audio]) -> np.ndarray:
        return codes

    def encode(self, batch):
        found = super().encode(batch)
        return [
            Units(spec=self.spec, codes=self.change(units.codes, audio, batch).astype(np.uint16))
            for units, audio in zip(found, batch, strict=True)
        ]


class NormalisesOverTheBatch(Encoder):
    def change(self, codes, audio, batch):
        return codes if len(batch) == 1 else np.minimum(codes, max(len(other.samples) for other in batch) % 7)


class OneFrameTooMany(Encoder):
    def change(self, codes, audio, batch):
        return np.concatenate([codes, codes[-1:]])


class OutOfRange(Encoder):
    def change(self, codes, audio, batch):
        return codes + 1


class Dices(Encoder):
    def change(self, codes, audio, batch):
        return (codes + next(TICKS)) % self.levels


class WritesIntoItsInput(Encoder):
    def change(self, codes, audio, batch):
        audio.samples[:] *= 0.5
        return codes


class TrustsTheRate(Encoder):
    def encode(self, batch):
        return super().encode([Audio(samples=audio.samples, sample_rate=16000) for audio in batch])


class FailsOnNothing(Encoder):
    def encode(self, batch):
        return super().encode(batch) if batch[0] else []


class HoldsALambda(Encoder):
    def __init__(self):
        super().__init__()
        self.square = lambda x: x * x


class ForgetsOnSaving(Encoder):
    def __init__(self):
        super().__init__(levels=5)


SPEECH = [
    Case(
        "SpeechUnitEncoderContract",
        NormalisesOverTheBatch,
        ("a_batch_gives_what_singles_give", "padding_changes_nothing"),
    ),
    Case("SpeechUnitEncoderContract", OneFrameTooMany, ("it_makes_as_many_frames_as_the_spec_promises",)),
    Case("SpeechUnitEncoderContract", OutOfRange, ("its_codes_lie_within_their_codebooks",)),
    Case("SpeechUnitEncoderContract", Dices, ("it_is_deterministic", "a_batch_gives_what_singles_give")),
    Case("SpeechUnitEncoderContract", WritesIntoItsInput, ("it_is_deterministic",)),
    Case("SpeechUnitEncoderContract", TrustsTheRate, ("audio_at_another_rate_is_resampled",)),
    Case("SpeechUnitEncoderContract", FailsOnNothing, ("an_empty_batch_gives_no_units",)),
    Case("SpeechUnitEncoderContract", HoldsALambda, ("it_pickles",)),
    Case(
        "SpeechUnitEncoderContract",
        ForgetsOnSaving,
        ("a_saved_encoder_loads_with_equal_units",),
        reload=lambda directory: fakes.EnergyEncoder(),
    ),
]

# ---- text unit encoders


class Text(fakes.ByteText):
    """Honest, with one place to break it."""

    def change(self, units: TextUnits, text: str) -> TextUnits:
        return units

    def encode(self, text):
        return self.change(super().encode(text), text)


class StripsSpaces(Text):
    def encode(self, text):
        return super().encode(text.strip())


class OffsetsInBytes(Text):
    def change(self, units, text):
        places = np.arange(len(units), dtype=np.int32)
        return replace(units, char_offsets=np.stack([places, places + 1], axis=1))


class NoOffsets(Text):
    def change(self, units, text):
        return replace(units, char_offsets=np.zeros_like(units.char_offsets))


class LargeIds(Text):
    vocab_size = 100


class OtherIdsOnTheHotPath(Text):
    def encode_ids(self, text):
        return [*super().encode_ids(text), 32]


class NamesAnother(Text):
    def change(self, units, text):
        return replace(units, fingerprint="another")


class DropsTheSpaceWhenDecoding(Text):
    def decode(self, ids):
        return super().decode(ids).strip()


class ShowsWhatItTakesBack(Text):
    def decode(self, ids):
        return super().decode(ids) if len(ids) != 3 else "wait"


class CountsItsCalls(Text):
    def change(self, units, text):
        return replace(units, ids=(units.ids + next(TICKS)) % 256)


class LongInts(Text):
    def change(self, units, text):
        return replace(units, ids=units.ids.astype(np.int64))


TEXT = [
    Case(
        "TextUnitEncoderContract",
        StripsSpaces,
        ("decoding_gives_the_text_back", "pieces_of_text_join_with_their_spaces"),
    ),
    Case("TextUnitEncoderContract", OffsetsInBytes, ("offsets_are_ordered_and_lie_within_the_text",)),
    Case("TextUnitEncoderContract", NoOffsets, ("offsets_cover_every_character",)),
    Case("TextUnitEncoderContract", LargeIds, ("ids_lie_within_the_vocabulary",)),
    Case("TextUnitEncoderContract", LongInts, ("ids_lie_within_the_vocabulary",)),
    Case("TextUnitEncoderContract", OtherIdsOnTheHotPath, ("the_ids_alone_are_the_ids_with_offsets",)),
    Case("TextUnitEncoderContract", NamesAnother, ("units_name_their_tokenizer",)),
    Case("TextUnitEncoderContract", DropsTheSpaceWhenDecoding, ("decoding_gives_the_text_back",)),
    Case("TextUnitEncoderContract", ShowsWhatItTakesBack, ("text_grows_as_ids_come",)),
    Case("TextUnitEncoderContract", CountsItsCalls, ("it_is_deterministic", "it_pickles")),
    Case(
        "TextUnitEncoderContract",
        Text,
        ("a_saved_encoder_loads_with_equal_ids",),
        reload=lambda directory: NamesAnother() if list(directory.iterdir()) else None,
    ),
]

# ---- interleavers


class Spans(WordSpans):
    """Short spans, so that every document has several."""

    def __init__(self):
        super().__init__((1, 3), (1, 3))

    def change(self, document: list, rng: np.random.Generator) -> list:
        return document

    def interleave(self, utterance, rng):
        return tuple(self.change(list(super().interleave(utterance, rng)), rng))


class DropsTheEnd(Spans):
    def change(self, document, rng):
        return document[:-1] if len(document) > 1 else document


class Repeats(Spans):
    def change(self, document, rng):
        return [*document, document[0]]


class Shuffles(Spans):
    def change(self, document, rng):
        return document[::-1]


class CutsAFrame(Spans):
    def change(self, document, rng):
        return [
            span
            if isinstance(span, TextSpan)
            else replace(span, streams={name: units.cut(0, len(units) - 1) for name, units in span.streams.items()})
            for span in document
        ]


class Remembers(Spans):
    def change(self, document, rng):
        return document + [TextSpan(text=f" {next(TICKS)}")]


class DrawsGlobally(Spans):
    def change(self, document, rng):
        np.random.rand()
        return document


class ReturnsAList(Spans):
    def interleave(self, utterance, rng):
        return list(super().interleave(utterance, rng))


class AcceptsNothing(Spans):
    def accepts(self, utterance):
        return False


class SaysItNeverDraws(Spans):
    is_random = False


class ReadsMoreThanItSays(Unimodal):
    reads = frozenset({"streams"})

    def __init__(self):
        super().__init__("text")


class HidesALambda(Spans):
    def __init__(self):
        super().__init__()
        self.f = lambda: None


INTERLEAVE = [
    Case("InterleaverContract", DropsTheEnd, ("every_word_appears_once",)),
    Case("InterleaverContract", Repeats, ("every_word_appears_once",)),
    Case("InterleaverContract", Shuffles, ("every_word_appears_once",)),
    Case("InterleaverContract", CutsAFrame, ("every_frame_of_a_shown_word_appears",)),
    Case("InterleaverContract", Remembers, ("equal_generators_give_equal_documents", "no_state_is_kept_between_calls")),
    Case("InterleaverContract", DrawsGlobally, ("only_the_given_generator_is_drawn_from",)),
    Case("InterleaverContract", ReturnsAList, ("spans_are_text_raw_speech_or_markers",)),
    Case("InterleaverContract", SaysItNeverDraws, ("a_policy_that_never_draws_gives_one_document",)),
    Case("InterleaverContract", ReadsMoreThanItSays, ("it_looks_at_no_more_than_it_says",)),
    Case("InterleaverContract", HidesALambda, ("it_pickles",)),
]

# ---- backbones


class Backbone(fakes.TinyBackbone):
    """Honest, with one place to break it."""

    def __init__(self, vocab_size: int = 12, **options: Any) -> None:
        super().__init__(vocab_size, **options)
        self.eval()

    def forward(self, batch, cache=None, layers=()):
        return super().forward(self.before(batch), cache, layers)

    def before(self, batch):
        return batch


class LeaksAcrossDocuments(Backbone):
    def before(self, batch):
        return replace(batch, segments=(batch.segments > 0).long())


class SeesPadding(Backbone):
    def before(self, batch):
        return replace(batch, segments=torch.ones_like(batch.segments))


class IgnoresPositions(Backbone):
    def before(self, batch):
        return replace(batch, positions=torch.arange(batch.ids.shape[1]).expand_as(batch.ids))


class ForgetsOrder(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return Hidden(last=self.norm(self.embedding(batch.ids)), layers={})


class LooksAhead(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        ahead = torch.cat([hidden.last[:, 1:], hidden.last[:, -1:]], dim=1)
        return Hidden(last=hidden.last + ahead, layers=hidden.layers)


class DropsOut(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        return Hidden(last=torch.nn.functional.dropout(hidden.last), layers=hidden.layers)


class StaysInOrder(fakes.TinyCache):
    def select(self, rows):
        super().select(torch.arange(len(rows)))


class IgnoresSelection(Backbone):
    def new_cache(self):
        return StaysInOrder()


class ForgetsItsPast(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return super().forward(batch, None if cache is None else self.new_cache(), layers)


class ReturnsAllLayers(Backbone):
    def forward(self, batch, cache=None, layers=()):
        return super().forward(batch, cache, (0, 1, 2))


class RedrawsOldRows(Backbone):
    def extend(self, vocab_size, generator):
        super().extend(vocab_size, generator)
        torch.nn.init.normal_(self.head.weight, generator=generator)


class ExtendsWithZeros(Backbone):
    def extend(self, vocab_size, generator):
        old = self.embedding.num_embeddings
        super().extend(vocab_size, generator)
        with torch.no_grad():
            self.embedding.weight[old:] = 0
            self.head.weight[old:] = 0


class ExtendsFrozen(Backbone):
    def extend(self, vocab_size, generator):
        super().extend(vocab_size, generator)
        self.requires_grad_(False)
        self.norm.requires_grad_(True)


class PicklesItsWeights(Backbone):
    def save(self, directory):
        torch.save(self.state_dict(), directory / "model.pt")


class HasAnIdleWeight(Backbone):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.idle = torch.nn.Parameter(torch.zeros(3))


class ForeignHead(Backbone):
    def head_parameters(self):
        return [torch.nn.Parameter(torch.zeros(3))]


class FlatHidden(Backbone):
    def forward(self, batch, cache=None, layers=()):
        hidden = super().forward(batch, cache, layers)
        return Hidden(last=hidden.last.flatten(0, 1), layers=hidden.layers)


BACKBONE = [
    Case("BackboneContract", LeaksAcrossDocuments, ("packed_rows_equal_separate_documents",)),
    Case(
        "BackboneContract",
        SeesPadding,
        ("pieces_through_the_cache_give_what_the_whole_gives", "selected_rows_go_on_alone"),
    ),
    Case("BackboneContract", IgnoresPositions, ("packed_rows_equal_separate_documents", "selected_rows_go_on_alone")),
    Case("BackboneContract", ForgetsOrder, ("earlier_ids_and_their_order_count",)),
    Case(
        "BackboneContract",
        LooksAhead,
        ("later_ids_change_nothing", "padding_changes_nothing", "what_stands_in_the_padding_changes_nothing"),
    ),
    Case("BackboneContract", DropsOut, ("it_is_deterministic",)),
    Case("BackboneContract", IgnoresSelection, ("selected_rows_go_on_alone",)),
    Case("BackboneContract", ForgetsItsPast, ("pieces_through_the_cache_give_what_the_whole_gives",)),
    Case("BackboneContract", ReturnsAllLayers, ("layers_are_given_where_asked_for",)),
    Case(
        "BackboneContract",
        RedrawsOldRows,
        ("extending_keeps_the_old_rows", "extending_to_the_present_size_changes_nothing"),
    ),
    Case("BackboneContract", ExtendsWithZeros, ("new_rows_are_random_by_the_generator",)),
    Case("BackboneContract", ExtendsFrozen, ("an_extended_model_still_learns",)),
    Case("BackboneContract", PicklesItsWeights, ("weights_are_saved_as_safetensors",)),
    Case("BackboneContract", HasAnIdleWeight, ("a_loss_reaches_the_weights",)),
    Case("BackboneContract", ForeignHead, ("head_parameters_are_parameters",)),
    Case("BackboneContract", FlatHidden, ("shapes_are_as_promised",)),
    Case(
        "BackboneContract",
        Backbone,
        ("a_saved_backbone_loads_with_equal_states",),
        reload=lambda directory: Backbone(seed=9),
    ),
]

# ---- vocoders


class Vocoder(fakes.ToneVocoder):
    """Honest, with one place to break it."""

    def change(self, samples: np.ndarray, units) -> np.ndarray:
        return samples

    def synthesize(self, units, voice=None, style=None):
        audio = super().synthesize(units, voice, style)
        return Audio(samples=self.change(audio.samples, units).astype(np.float32), sample_rate=16000)


class Hisses(Vocoder):
    def change(self, samples, units):
        return samples + 0.01 * next(TICKS)


class PadsTheEnd(Vocoder):
    def change(self, samples, units):
        return np.concatenate([samples, np.zeros(100)])


class IgnoresDurations(Vocoder):
    def synthesize(self, units, voice=None, style=None):
        return super().synthesize(units.with_durations(None), voice, style)


class StretchesSlowly(Vocoder):
    def change(self, samples, units):
        return samples if units.durations is None or not units.durations.max(initial=0) > 2 else samples[:-7]


class MixesEverything(Vocoder):
    def change(self, samples, units):
        return samples + 0.001 * len(units.streams)


class SilentlyWithoutStream(Vocoder):
    def synthesize(self, units, voice=None, style=None):
        if "energy" not in units.streams:
            return Audio(samples=np.zeros(5, np.float32), sample_rate=16000)
        return super().synthesize(units, voice, style)


class LoudNonsense(Vocoder):
    def change(self, samples, units):
        return samples * np.nan


class ListsAVoiceItLacks(Vocoder):
    voices = ("low", "bass")


class TakesAnyVoice(Vocoder):
    def _voice(self, voice):
        return 0


VOCODER = [
    Case("VocoderContract", Hisses, ("it_is_deterministic",)),
    Case("VocoderContract", PadsTheEnd, ("no_rows_give_audio_of_no_samples",)),
    Case("VocoderContract", IgnoresDurations, ("durations_are_kept", "a_row_of_two_frames_is_two_rows_of_one")),
    Case("VocoderContract", StretchesSlowly, ("durations_are_kept",)),
    Case("VocoderContract", MixesEverything, ("streams_that_it_does_not_read_change_nothing",)),
    Case("VocoderContract", SilentlyWithoutStream, ("a_missing_stream_is_an_error_of_stlm",)),
    Case("VocoderContract", LoudNonsense, ("it_makes_audio_at_its_rate",)),
    Case("VocoderContract", ListsAVoiceItLacks, ("every_voice_and_style_can_be_named",)),
    Case("VocoderContract", TakesAnyVoice, ("an_unknown_voice_is_an_error_of_stlm",)),
    Case(
        "VocoderContract",
        Vocoder,
        ("a_saved_vocoder_loads_with_equal_sound",),
        reload=lambda directory: MixesEverything(),
    ),
]

# ---- sources, stages, runners


class Source(fakes.ListSource):
    """Honest."""

    def __init__(self):
        super().__init__([*make_corpus(5), Rejected(id="bad", reason="broken")])


class EveryWorkerReadsAll(Source):
    def utterances(self, shard=0, num_shards=1):
        yield from self.items


class LosesTheRest(Source):
    def utterances(self, shard=0, num_shards=1):
        yield from self.items[shard : len(self.items) // num_shards * num_shards : num_shards]


class OtherIdsPerShard(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield item if num_shards == 1 or isinstance(item, Rejected) else replace(item, text=f"{shard}")


class Tired(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield item if isinstance(item, Rejected) else replace(item, text=f"{next(TICKS)}")


class SameIds(Source):
    def utterances(self, shard=0, num_shards=1):
        for item in super().utterances(shard, num_shards):
            yield replace(item, id="same")


class OnlyRejects(Source):
    def utterances(self, shard=0, num_shards=1):
        return iter([self.items[-1]])


class CountsWrong(Source):
    def __len__(self):
        return 99


class Stage(fakes.UppercaseStage):
    """Honest."""


class SwallowsRejects(Stage):
    def apply(self, utterances):
        return super().apply(item for item in utterances if not isinstance(item, Rejected))


class DropsOne(Stage):
    def apply(self, utterances):
        return itertools.islice(super().apply(utterances), 1, None)


class GivesAList(Stage):
    def apply(self, utterances):
        return list(super().apply(utterances))


class Numbers(Stage):
    def apply(self, utterances):
        for item in super().apply(utterances):
            yield item if isinstance(item, Rejected) else replace(item, speaker=str(next(TICKS)))


class AddsOne(Stage):
    def apply(self, utterances):
        yield from super().apply(utterances)
        yield make_corpus(1)[0]


class YieldsStrings(Stage):
    def apply(self, utterances):
        for item in super().apply(utterances):
            yield item.id


class Runner(LocalRunner):
    """Honest."""

    def __init__(self):
        super().__init__(num_workers=1)


class RunsTwice(Runner):
    def run(self, work, tasks):
        list(super().run(work, tasks))
        yield from super().run(work, tasks)


class Swallows(Runner):
    def run(self, work, tasks):
        for task in tasks:
            try:
                yield work(task)
            except StlmError:
                yield None


class AlwaysGivesOne(Runner):
    def run(self, work, tasks):
        yield from super().run(work, tasks)
        yield 7


PREPARE = [
    Case("SourceContract", EveryWorkerReadsAll, ("shards_are_a_disjoint_cover",)),
    Case("SourceContract", LosesTheRest, ("shards_are_a_disjoint_cover",)),
    Case("SourceContract", OtherIdsPerShard, ("an_utterance_is_the_same_in_every_sharding",)),
    Case("SourceContract", Tired, ("equal_arguments_give_equal_results",)),
    Case("SourceContract", SameIds, ("ids_are_unique",)),
    Case("SourceContract", OnlyRejects, ("it_yields_utterances_and_rejected_inputs",)),
    Case("SourceContract", CountsWrong, ("its_length_is_known_or_zero",)),
    Case("StageContract", SwallowsRejects, ("rejected_inputs_pass_through",)),
    Case("StageContract", DropsOne, ("nothing_vanishes_without_a_word",)),
    Case("StageContract", GivesAList, ("it_takes_any_iterable_and_gives_an_iterator",)),
    Case("StageContract", Numbers, ("it_is_deterministic", "it_pickles")),
    Case("StageContract", AddsOne, ("no_input_gives_no_output",)),
    Case("StageContract", YieldsStrings, ("it_yields_utterances_and_rejected_inputs",)),
    Case("RunnerContract", RunsTwice, ("every_task_runs_once", "every_task_gives_its_result")),
    Case("RunnerContract", Swallows, ("an_exception_in_a_task_is_raised_in_the_caller",)),
    Case("RunnerContract", AlwaysGivesOne, ("no_task_gives_no_result",)),
]

# ---- listeners


class Overlaps(fakes.EvenAligner):
    def align(self, audio, text):
        words = super().align(audio, text)
        return (*words[:-1], replace(words[-1], start=0))


class WrongPlaces(fakes.EvenAligner):
    def align(self, audio, text):
        return tuple(replace(word, char_start=0, char_end=1) for word in super().align(audio, text))


class SkipsAWord(fakes.EvenAligner):
    def align(self, audio, text):
        return super().align(audio, text)[1:]


class AlignsSilence(fakes.EvenAligner):
    def align(self, audio, text):
        return super().align(audio, text) if audio.num_samples else ()


class Wavers(fakes.EvenAligner):
    def align(self, audio, text):
        words = super().align(audio, text)
        return tuple(replace(word, score=1 / (1 + next(TICKS))) for word in words)


class Sorts(fakes.EnergyJudge):
    def transcribe(self, batch):
        return sorted(super().transcribe(batch))


class HearsVoices(fakes.EnergyJudge):
    def transcribe(self, batch):
        return ["thank you" for _ in batch]


class SkipsSilence(fakes.EnergyJudge):
    def transcribe(self, batch):
        return [text for text in super().transcribe(batch) if text]


class NeverSilent(fakes.EnergyJudge):
    def transcribe(self, batch):
        return super().transcribe(batch) or [""]


class ChangesItsMind(fakes.EnergyJudge):
    def transcribe(self, batch):
        return [text and f"{text} {next(TICKS)}" for text in super().transcribe(batch)]


class OctaveTooHigh(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return 2 * super()._frame(frame)


class NanInSilence(fakes.AutocorrelationF0):
    def extract(self, audio):
        f0, voiced = super().extract(audio)
        return np.where(voiced, f0, np.nan).astype(np.float32), voiced


class VoicedSilence(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return super()._frame(frame) or 100.0


class HalfTheFrames(fakes.AutocorrelationF0):
    def extract(self, audio):
        f0, voiced = super().extract(audio)
        return f0[::2], voiced[::2]


class Trembles(fakes.AutocorrelationF0):
    def _frame(self, frame):
        return super()._frame(frame) * (1 + 1e-4 * random.random())


class EatsOneLetter(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return super().normalize(text)[1:]


class Appends(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return super().normalize(text) or "<empty>"


class Stamps(fakes.LowercaseNormalizer):
    def normalize(self, text):
        return f"{next(TICKS)}"


LISTEN = [
    Case("AlignerContract", Overlaps, ("words_come_in_order_within_audio_and_text",)),
    Case("AlignerContract", WrongPlaces, ("offsets_point_at_the_words",)),
    Case("AlignerContract", SkipsAWord, ("every_letter_belongs_to_a_word",)),
    Case("AlignerContract", AlignsSilence, ("text_that_cannot_be_aligned_is_a_data_error",)),
    Case("AlignerContract", Wavers, ("it_is_deterministic",)),
    Case("JudgeContract", Sorts, ("a_batch_gives_what_singles_give_in_order",)),
    Case("JudgeContract", HearsVoices, ("silence_says_nothing",)),
    Case("JudgeContract", SkipsSilence, ("every_audio_gets_one_text",)),
    Case("JudgeContract", NeverSilent, ("no_audio_gives_no_text",)),
    Case("JudgeContract", ChangesItsMind, ("it_is_deterministic",)),
    Case("F0ExtractorContract", OctaveTooHigh, ("a_steady_voice_has_its_pitch",)),
    Case("F0ExtractorContract", NanInSilence, ("frames_have_pitch_and_voicing",)),
    Case("F0ExtractorContract", VoicedSilence, ("silence_gives_zeros_and_no_error",)),
    Case("F0ExtractorContract", HalfTheFrames, ("there_is_one_frame_each_hop",)),
    Case("F0ExtractorContract", Trembles, ("it_is_deterministic",)),
    Case("TextNormalizerContract", EatsOneLetter, ("it_is_idempotent",)),
    Case("TextNormalizerContract", Appends, ("nothing_stays_nothing",)),
    Case("TextNormalizerContract", Stamps, ("it_is_deterministic", "it_pickles")),
]

# ---- evaluation tasks and recipes


class Task(fakes.LongerText):
    """Honest, with one place to break it."""

    def change(self, item):
        return item

    def items(self):
        for item in super().items():
            yield self.change(item)


class AnswerOutOfRange(Task):
    def change(self, item):
        return replace(item, answer=2)


class EqualCandidates(Task):
    def change(self, item):
        return replace(item, candidates=(item.candidates[0], item.candidates[0]))


class RepeatedIds(Task):
    def change(self, item):
        return replace(item, id="same")


class ShufflesItself(Task):
    def items(self):
        found = list(super().items())
        start = next(TICKS) % len(found)
        yield from found[start:] + found[:start]


class NothingToScore(Task):
    def change(self, item):
        return replace(item, candidates=([TextSpan(text="")], item.candidates[1]))


class NotMirrored(Task):
    pass


class Recipe(fakes.CountRecipe):
    """Honest."""


class StampsTheTime(Recipe):
    def train(self, utterances, out):
        super().train(utterances, out)
        (out / "time.txt").write_text(str(time.perf_counter_ns()))


class WritesNothing(Recipe):
    def train(self, utterances, out):
        list(utterances)


class NeedsALength(Recipe):
    def train(self, utterances, out):
        assert len(utterances)
        super().train(utterances, out)


class WritesAPickle(Recipe):
    def train(self, utterances, out):
        super().train(utterances, out)
        (out / "model.pt").write_bytes(b"")


TASK = [
    Case("EvalTaskContract", AnswerOutOfRange, ("items_are_well_formed", "an_oracle_reaches_100_per_cent")),
    Case("EvalTaskContract", EqualCandidates, ("candidates_differ",)),
    Case("EvalTaskContract", RepeatedIds, ("items_are_well_formed",)),
    Case("EvalTaskContract", ShufflesItself, ("items_come_in_a_fixed_order",)),
    Case("EvalTaskContract", NothingToScore, ("a_model_can_score_it",)),
    Case(
        "EvalTaskContract",
        NotMirrored,
        ("a_scorer_blind_to_the_prompt_gets_exactly_chance", "groups_of_a_mirrored_task_show_every_answer"),
    ),
    Case("RecipeContract", StampsTheTime, ("equal_data_give_equal_files",)),
    Case("RecipeContract", WritesNothing, ("it_writes_files",)),
    Case("RecipeContract", NeedsALength, ("it_reads_utterances_from_any_iterable",)),
    Case("RecipeContract", WritesAPickle, ("nothing_that_it_writes_is_a_pickle",)),
]

CASES = SPEECH + TEXT + INTERLEAVE + BACKBONE + VOCODER + PREPARE + LISTEN + TASK
SUBJECTS = {
    "SpeechUnitEncoderContract": "encoder",
    "TextUnitEncoderContract": "encoder",
    "InterleaverContract": "interleaver",
    "BackboneContract": "backbone",
    "VocoderContract": "vocoder",
    "SourceContract": "source",
    "StageContract": "stage",
    "RunnerContract": "runner",
    "AlignerContract": "aligner",
    "JudgeContract": "judge",
    "F0ExtractorContract": "extractor",
    "TextNormalizerContract": "normalizer",
    "EvalTaskContract": "task",
    "RecipeContract": "recipe",
}


def run_law(case: Case, part: Any, law: str, directory: Path) -> None:
    """Call one law as pytest would, with the part for its fixture; parametrised laws with each value."""
    contract = getattr(contracts, case.contract)
    suite = type(
        f"Test{case.contract}",
        (contract,),
        {"mirrored": True, "reload": case.reload or contract.__dict__.get("reload")},
    )()
    suite.reload = (lambda place: case.reload(place)) if case.reload else None
    method = getattr(suite, f"test_{law}")
    marks = [mark for mark in getattr(method, "pytestmark", []) if mark.name == "parametrize"]
    choices = [{mark.args[0]: value} for mark in marks for value in mark.args[1]] or [{}]
    for choice in choices:
        method(
            **{
                name: choice[name] if name in choice else resolve(suite, case, part, name, directory)
                for name in inspect.signature(method).parameters
            }
        )


def resolve(suite: Any, case: Case, part: Any, name: str, directory: Path) -> Any:
    if name == SUBJECTS[case.contract]:
        return part
    if name == "tmp_path":
        return directory
    fixture = getattr(type(suite), name)
    function = getattr(fixture, "_get_wrapped_function", lambda: fixture.__wrapped__)()
    needs = list(inspect.signature(function).parameters)[1:]
    return function(suite, **{need: resolve(suite, case, part, need, directory) for need in needs})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.part.__name__)
def test_a_broken_part_is_caught_by_the_law_that_it_breaks(case: Case, tmp_path: Path) -> None:
    for number, law in enumerate(case.laws):
        directory = tmp_path / str(number)
        directory.mkdir()
        part = case.part()
        with pytest.raises(Exception) as caught:
            run_law(case, part, law, directory)
        assert not isinstance(caught.value, pytest.skip.Exception), f"{law} was skipped"


def test_every_law_is_broken_once() -> None:
    broken = {(case.contract, f"test_{law}") for case in CASES for law in case.laws}
    laws = {(name, law) for name in SUBJECTS for law in vars(getattr(contracts, name)) if law.startswith("test_")}
    laws -= {(name, law) for name, law in laws if law in vars(contracts.ComponentContract)}
    assert sorted(laws - broken) == [], "no broken part shows that these laws can fail"


def test_an_honest_part_keeps_them_all(tmp_path: Path) -> None:
    """The way of calling laws here is right: on unbroken parts none of them fails."""
    honest = {
        "SpeechUnitEncoderContract": Encoder,
        "TextUnitEncoderContract": Text,
        "SourceContract": Source,
        "RunnerContract": Runner,
    }
    for name, part in honest.items():
        for law in {law for case in CASES if case.contract == name for law in case.laws}:
            loaders = {
                "SpeechUnitEncoderContract": lambda place: Encoder.load(place),
                "TextUnitEncoderContract": lambda place: Text.load(place),
            }
            directory = tmp_path / name / law
            directory.mkdir(parents=True)
            run_law(Case(name, part, (law,), reload=loaders.get(name)), part(), law, directory)
