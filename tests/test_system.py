"""A whole system of fakes: prompts in, documents and sound out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import stlm
from stlm.audio import resample, write_audio
from stlm.codec import StreamParser, TextDelta
from stlm.errors import ConfigError, DataError
from stlm.generate import GenerationOptions
from stlm.interfaces import BackboneCache, BackboneLM, Hidden
from stlm.system import SpeechFile, SpeechTextLM
from stlm.testing.documents import plain
from stlm.testing.factories import energy_format, make_codec, make_sounds, tiny_system
from stlm.testing.fakes import ByteText, EnergyEncoder, ToneVocoder
from stlm.types import Audio, Format, Marker, Speech, SpeechSpan, TextSpan, UnitSpan

SOUND = make_sounds()[1]
GREEDY = GenerationOptions(temperature=0.0, max_new_tokens=40)


class Script(BackboneLM):
    """Writes given ids, one after the other, whatever it has read."""

    def __init__(self, ids: list[int], vocab_size: int) -> None:
        super().__init__()
        self.script = ids
        self.vocab_size = vocab_size
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.written = -1

    def forward(self, batch, cache=None, layers=()):
        self.written += 1
        place = min(self.written, len(self.script) - 1)
        return Hidden(last=torch.full((*batch.ids.shape, 1), float(self.script[place])))

    def logits(self, hidden):
        return torch.nn.functional.one_hot(hidden[..., 0].long(), self.vocab_size).float()

    def new_cache(self):
        return NoCache()

    def extend(self, vocab_size, generator):
        raise NotImplementedError

    def save(self, directory):
        raise NotImplementedError


class NoCache(BackboneCache):
    length = 0

    def select(self, rows):
        pass


def scripted(*symbols: str | bytes | int) -> SpeechTextLM:
    """A system that writes these: symbols of the vocabulary, bytes of text, or ids."""
    encoder = EnergyEncoder()
    codec = make_codec(energy_format(), [encoder.spec])
    shown = {codec.format.vocabulary.show(id): id for id in range(len(codec.format.vocabulary))}
    ids: list[int] = []
    for symbol in symbols:
        ids += list(symbol) if isinstance(symbol, bytes) else [symbol if isinstance(symbol, int) else shown[symbol]]
    backbone = Script([*ids, 257], len(codec.format.vocabulary))
    return SpeechTextLM(codec, {"energy": encoder}, backbone, ToneVocoder())


def test_the_python_door_opens_on_first_use(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", SOUND)
    assert stlm.Text("hi") == TextSpan(text="hi")
    piece = stlm.Speech(tmp_path / "a.wav")
    assert isinstance(piece, Speech) and piece.audio.num_samples == SOUND.num_samples
    assert stlm.SpeechTextLM is SpeechTextLM
    with pytest.raises(AttributeError, match="no attribute 'Txt'"):
        _ = stlm.Txt


def test_files_and_sounds_are_encoded_alike(tmp_path: Path) -> None:
    system = tiny_system()
    write_audio(tmp_path / "a.wav", SOUND)
    from_file, from_memory = system.encode(tmp_path / "a.wav", SOUND)
    assert isinstance(from_file, SpeechSpan) and isinstance(from_memory, SpeechSpan)
    codes = [span.streams["energy"].codes for span in (from_file, from_memory)]
    assert codes[0].shape == codes[1].shape and (codes[0] == codes[1]).mean() > 0.95, "16 bits round a little"


def test_pieces_become_a_document_in_their_order() -> None:
    system = tiny_system()
    document = system.document(
        ["one", Speech(audio=SOUND), stlm.Text("two"), Speech(audio=make_sounds()[0]), Marker(name="[ASR]")]
    )
    assert [type(span).__name__ for span in document] == ["TextSpan", "SpeechSpan", "TextSpan", "SpeechSpan", "Marker"]
    assert len(document[1].streams["energy"]) != len(document[3].streams["energy"])


@pytest.mark.parametrize(
    ("prompt", "to", "last"),
    [
        (["hi"], "speech", "[Speech]"),
        (["hi"], "text", "[text:105]"),
        (["hi"], "any", "[text:105]"),
        ([Speech(audio=SOUND)], "text", "[Text]"),
        ([Marker(name="[ASR]")], "text", "[Text]"),
        ([], "speech", "[Speech]"),
    ],
)
def test_a_prompt_ends_with_the_marker_of_what_is_to_come(prompt: list, to: str, last: str) -> None:
    system = tiny_system()
    ids = system.prompt_ids(system.document(prompt), to)
    assert system.codec.format.vocabulary.show(int(ids[-1])) == last
    assert ids[0] == system.codec.format.bos and system.codec.format.eos not in ids


@pytest.mark.parametrize(("to", "kinds"), [("text", {1}), ("speech", {2}), ("any", {0, 1, 2})])
def test_generation_keeps_to_the_modality(to: str, kinds: set[int]) -> None:
    system = tiny_system()
    codec = system.codec
    allowed = np.flatnonzero(system.allowed(to))
    assert codec.format.eos in allowed and codec.format.bos not in allowed and codec.format.pad not in allowed
    assert set(codec.kind_of(allowed[allowed != codec.format.eos]).tolist()) == kinds
    markers = {codec.format.vocabulary.show(int(id)) for id in allowed if codec.kind_of(np.array([id]))[0] == 0}
    assert markers == ({"[Text]", "[Speech]"} if to == "any" else set()), "task markers are for prompts alone"
    expected = {"text": TextSpan, "speech": UnitSpan}.get(to, (TextSpan, UnitSpan))
    sampling = {"temperature": 2.0, "top_p": 1.0, "max_new_tokens": 30}
    outs = [system.generate(["hi"], to=to, seed=seed, **sampling) for seed in range(5)]
    assert any(outs) and all(isinstance(span, expected) for out in outs for span in out)


def test_ids_of_the_text_block_that_the_tokenizer_lacks_are_never_written() -> None:
    encoder = EnergyEncoder()
    data = energy_format().as_dict()
    data["blocks"][0]["size"] = 300
    codec = make_codec(Format.from_dict(data), [encoder.spec])
    system = SpeechTextLM(codec, {"energy": encoder}, tiny_system().backbone)
    allowed = system.allowed("text")
    assert allowed[:256].all() and allowed[257] and not allowed[258:300].any() and not allowed[256]


def test_an_answer_after_a_marker_has_no_leading_space() -> None:
    (span,) = scripted(b" yes").generate([Speech(audio=SOUND)], to="text", temperature=0)
    assert span == TextSpan(text="yes")


@pytest.mark.parametrize("to", ["text", "any"])
def test_a_text_that_goes_on_keeps_the_space_of_its_next_word(to: str) -> None:
    """ "The sky" goes on with " is", not with "is": prompt and continuation join to the ids that were there."""
    system = scripted(b" is blue")
    prompt = system.document(["The sky"])
    (out,) = system.generate_batch([prompt], to=to, options=GREEDY)
    assert out == (TextSpan(text=" is blue"),)
    whole = system.codec.encode((*prompt, *out), eos=False).ids
    assert whole.tolist() == [*system.prompt_ids(prompt, to).tolist(), *b" is blue"]


def test_spoken_and_written_parts_alternate_where_anything_goes() -> None:
    system = scripted("[Text]", b" so", "[Speech]", "[En3]", "[En4]", "[Text]", b" then")
    out = system.generate([Speech(audio=SOUND)], to="any", temperature=0)
    assert [span.text if isinstance(span, TextSpan) else span.code.tolist() for span in out] == ["so", [3, 4], "then"]


@pytest.mark.parametrize("prompt", [["The sky"], [Speech(audio=SOUND)]])
def test_streaming_gives_what_generating_at_once_gives(prompt: list) -> None:
    script = (b" is", "[Speech]", "[En3]", "[Text]", "é ".encode())
    document = tiny_system().document(prompt)
    (expected,) = scripted(*script).generate_batch([document], to="any", options=GREEDY)
    system = scripted(*script)
    parser = StreamParser(system.codec, at_start=not isinstance(document[-1], TextSpan))
    deltas = list(system.stream(document, to="any", options=GREEDY, parser=parser))
    assert plain(parser.document) == plain(expected)
    other = list(scripted(*script).stream(document, to="any", options=GREEDY))
    texts = [[delta.text for delta in found if isinstance(delta, TextDelta)] for found in (deltas, other)]
    assert texts[0] == texts[1] and "".join(texts[0]) == "".join(
        span.text for span in expected if isinstance(span, TextSpan)
    )


def test_what_was_generated_can_be_spoken() -> None:
    system = scripted("[Speech]", "[En3]", "[En4]", "[Text]", b"x", "[Speech]", "[En5]")
    out = system.generate(["hi"], to="any", temperature=0)
    audio = system.synthesize(out, voice="high")
    assert audio.num_samples == 3 * 320 and audio.sample_rate == 16000
    other = system.synthesize(out, voice="low")
    assert not np.array_equal(audio.samples, other.samples)


def test_encoded_speech_is_spoken_frame_by_frame() -> None:
    system = tiny_system()
    document = system.encode(SOUND)
    assert system.synthesize(document).num_samples == len(document[0].streams["energy"]) * 320


def test_what_cannot_be_done_says_why() -> None:
    system = tiny_system()
    with pytest.raises(ConfigError, match=r"one of text, speech, any, got 'txt' \(did you mean 'text'\?\)"):
        system.generate(["hi"], to="txt")
    with pytest.raises(ConfigError, match="generation needs"):
        system.generate(["hi"], temperature=-1)
    with pytest.raises(DataError, match="holds no speech to synthesize"):
        system.synthesize((TextSpan(text="hi"),))
    deaf = SpeechTextLM(system.codec, {}, system.backbone)
    with pytest.raises(ConfigError, match="no encoder for stream 'energy'"):
        deaf.encode(SOUND)
    with pytest.raises(ConfigError, match="no vocoder"):
        deaf.synthesize(system.encode(SOUND))


def test_a_system_needs_no_speech_to_write() -> None:
    out = tiny_system().generate(["hi"], to="text", max_new_tokens=4)
    assert ByteText().fingerprint and all(isinstance(span, TextSpan) for span in out)


def test_scores_rank_candidates() -> None:
    system = tiny_system()
    scores = system.score(["hi"], [" a", " b", [Speech(audio=SOUND)], [TextSpan(text=" a")]])
    assert len(scores) == 4 and scores[0] == scores[3]
    assert all(total < 0 and mean < 0 for total, mean in scores)
    assert scores[0][0] == pytest.approx(2 * scores[0][1])


def test_audio_is_saved_by_its_suffix(tmp_path: Path) -> None:
    audio = Audio(samples=np.zeros(320, np.float32), sample_rate=16000)
    audio.save(tmp_path / "a.flac")
    assert (tmp_path / "a.flac").stat().st_size > 0


def test_texts_in_a_row_are_one_text_and_speech_keeps_its_place() -> None:
    system = tiny_system()
    joined = system.document(["look", "ed ", Speech(audio=SOUND), "at", Marker(name="[ASR]"), "it"])
    shown = [span.text if isinstance(span, TextSpan) else type(span).__name__ for span in joined]
    assert shown == ["looked ", "SpeechSpan", "at", "Marker", "it"]


def test_a_sound_is_resampled_once_for_all_encoders_of_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    from stlm.interfaces import unit_encoder

    calls: list[int] = []

    def counted(audio: Audio, rate: int) -> Audio:
        calls.append(rate)
        return resample(audio, rate)

    monkeypatch.setattr(unit_encoder, "resample", counted)
    sound = resample(SOUND, 48000)
    found = unit_encoder.encode_streams({name: EnergyEncoder() for name in "abc"}, [sound, sound])
    assert calls == [16000, 16000]
    assert len({len(units) for items in found.values() for units in items}) == 1


def test_generation_without_force_may_write_any_id_of_the_format() -> None:
    system = tiny_system()
    text_id = system.codec.text_offset + 65
    system.backbone = Script([text_id] * 3, len(system.codec.format.vocabulary))
    prompt = [system.prompt_ids((TextSpan(text="a"),), "speech")]
    options = GenerationOptions(temperature=0.0, max_new_tokens=2)
    (free,) = system.continue_ids(prompt, to="speech", options=options, force=False)
    (forced,) = system.continue_ids(prompt, to="speech", options=options)
    assert free.tolist() == [text_id] * 2
    assert text_id not in forced.tolist()


def test_a_candidate_without_anything_to_score_is_refused() -> None:
    """Its likelihood would be that of nothing: 0, above all others."""
    silence = Speech(audio=Audio(samples=np.zeros(10, np.float32), sample_rate=16000))
    for empty in ("", [], [Marker(name="[ASR]")]):
        with pytest.raises(DataError, match="candidate 1 has no text and no unit of speech"):
            tiny_system().score(["a"], [" b", empty])
    with pytest.raises(DataError, match=r"0.001 s are too short for a single unit"):
        tiny_system().score(["a"], [" b", [silence]])


def test_a_prompt_of_speech_without_a_unit_is_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Audio(samples=np.zeros(300, np.float32), sample_rate=16000))
    with pytest.raises(DataError, match=r"a.wav: 0.019 s are too short for a single unit"):
        tiny_system().generate([SpeechFile(tmp_path / "a.wav")], to="text")
