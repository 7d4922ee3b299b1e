"""Encoding once, every stream on the clock of the units, batches as a function of their generator."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from stlm.errors import ConfigError, DataError, FormatError
from stlm.types import Audio, StreamSpec, Units, Utterance
from stlm_hifigan.corpus import Corpus, Segments, check_encoders, encode_corpus, held, runs

from .conftest import Loudness, melody


def units(codes: list[int], hop: int, sample_rate: int = 16000) -> Units:
    spec = StreamSpec(
        name="any", codebook_sizes=(100,), sample_rate=sample_rate, hop=hop, window=hop, fingerprint="any"
    )
    return Units(spec=spec, codes=np.array(codes, np.uint16).reshape(-1, 1))


def corpus_of(count: int = 4, seconds: float = 1.0, **more: object) -> Corpus:
    encoders = {"units": Loudness(), "pitch": Loudness("pitch", 1280, 9)}
    return encode_corpus(
        [melody(index, seconds, **more) for index in range(count)], encoders, style_label="", shortest=10
    )


def test_slow_streams_are_held_on_the_clock_of_the_units() -> None:
    """25 Hz, 12.5 Hz and 1 Hz, as the official streams are."""
    streams = {
        "units": units(list(range(27)), 640),
        "pitch": units(list(range(50, 63)), 1280),  # one frame short of the end: its last is held
        "style": units([7, 8], 16000),
    }
    found = held(streams, 1000)
    assert found["units"].tolist() == list(range(27))
    assert found["pitch"].tolist() == [50 + index for index in range(13) for _ in range(2)] + [62]
    assert found["style"].tolist() == [7] * 25 + [8] * 2


def test_rates_that_do_not_divide_take_the_frame_that_has_begun() -> None:
    """Units begin at 0, 2/3, 4/3, … of a frame of the other stream, read at another sample rate."""
    found = held({"units": units([1] * 7, 640), "pitch": units([0, 1, 2, 3], 480, 8000)}, 1000)
    assert found["pitch"].tolist() == [0, 0, 1, 2, 2, 3, 3]


def test_units_without_sound_are_cut_and_an_empty_stream_empties_all() -> None:
    assert len(held({"units": units([1] * 7, 640)}, 5)["units"]) == 5
    found = held({"units": units([1] * 7, 640), "style": units([], 16000)}, 1000)
    assert {role: len(codes) for role, codes in found.items()} == {"units": 0, "style": 0}


def test_runs_are_units_and_how_long_they_last() -> None:
    different, lasting = runs(np.array([0, 0, 3, 3, 3, 0, 9]))
    assert (different.tolist(), lasting.tolist()) == ([0, 3, 0, 9], [2, 3, 1, 1])


def test_a_corpus_has_a_row_of_every_table_for_every_frame() -> None:
    corpus = corpus_of()
    assert dict(corpus.tables) == {"dict": 10, "f0_dict": 9, "spkr": 2}
    assert corpus.voices == ("singer 0", "singer 1")
    spoken = corpus.spoken[1]
    wanted = Loudness()._codes(corpus.recordings[1])[:, 0]
    np.testing.assert_array_equal(corpus.row(spoken, "dict"), wanted)
    assert set(corpus.row(spoken, "spkr").tolist()) == {1}
    assert corpus.sound(spoken).shape == (len(spoken) * corpus.hop,)


def test_a_stretch_has_the_sound_of_its_units() -> None:
    corpus = corpus_of()
    batch = Segments(corpus, corpus.spoken, 5, 12)(np.random.default_rng(3))
    assert batch["rows"].shape == (5, 3, 12) and batch["samples"].shape == (5, 12 * 320)
    for rows, samples in zip(batch["rows"].numpy(), batch["samples"].numpy(), strict=True):
        np.testing.assert_array_equal(Loudness()._codes(samples)[:, 0], rows[0])
    assert [int(frames.sum()) for frames in batch["durations"]] == [50] * 5


def test_every_place_is_drawn_and_equal_generators_draw_equal_batches() -> None:
    corpus = corpus_of(2, seconds=0.24)
    segments = Segments(corpus, corpus.spoken, 200, 10)
    one, two, other = (segments(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one["samples"].equal(two["samples"]) and one["rows"].equal(two["rows"])
    assert not one["rows"].equal(other["rows"])
    assert len(np.unique(one["samples"].numpy(), axis=0)) == 2 * 3, "two utterances of 12 units have 3 places each"


def test_recordings_that_are_too_short_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = encode_corpus(
            [melody(0), melody(1, 0.1), melody(2)], {"units": Loudness()}, style_label="", shortest=10
        )
    assert [item.recording for item in corpus.spoken] == [0, 2]
    assert "1 of 3 recordings left out, they give fewer than 10 units" in caplog.text


def test_one_speaker_is_said_and_has_a_table(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = corpus_of(speaker="anna")
    assert corpus.voices == ("anna",) and corpus.tables["spkr"] == 1
    assert "one speaker, anna" in caplog.text


def test_labels_become_named_styles() -> None:
    spoken = [melody(index, labels={"mood": "sad" if index else " very\nglad "}) for index in range(3)]
    corpus = encode_corpus([*spoken, melody(3)], {"units": Loudness()}, style_label="mood", shortest=10)
    assert corpus.styles == ("sad", "unknown", "very glad")
    assert list(corpus.tables) == ["dict", "spkr", "style"], "the order of the official base vocoder"
    assert [int(corpus.row(item, "style")[0]) for item in corpus.spoken] == [2, 0, 0, 1]
    assert corpus.usual("style") == [0]


@pytest.mark.parametrize(
    ("encoders", "style_label", "message"),
    [
        ({}, "", "encoders are for nothing, expected units"),
        ({"pitch": Loudness()}, "", "encoders are for pitch, expected units"),
        ({"units": Loudness(), "hubert": Loudness()}, "", "encoders are for units, hubert"),
        ({"units": Loudness(codebooks=2)}, "", "has 2 codebooks, expected one"),
        ({"units": Loudness(), "style": Loudness()}, "mood", "two styles"),
    ],
)
def test_encoders_that_make_no_vocoder_are_config_errors(encoders: dict, style_label: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_encoders(encoders, style_label)


def test_no_speech_silence_and_one_unit_alone_are_data_errors() -> None:
    def encode(*given: Utterance) -> None:
        encode_corpus(given, {"units": Loudness()}, style_label="", shortest=10)

    with pytest.raises(DataError, match="got 0 recordings"):
        encode(Utterance(id="text", text="no sound"))
    with pytest.raises(DataError, match="are silent"):
        encode(Utterance(id="silent", audio=Audio(samples=np.zeros(16000, np.float32), sample_rate=16000)))
    with pytest.raises(DataError, match="none of 2 recordings gives 10 units"):
        encode(melody(0, 0.1), melody(1, 0.1))
    with pytest.raises(DataError, match="consist of unit 3 alone"):
        steady = np.sin(np.arange(16000) * 0.3).astype(np.float32) * 0.15
        encode(Utterance(id="steady", audio=Audio(samples=steady, sample_rate=16000)))


def test_codes_beyond_their_codebook_are_format_errors() -> None:
    class Wrong(Loudness):
        def encode(self, batch):
            return [Units(spec=self.spec, codes=found.codes + 50) for found in super().encode(batch)]

    with pytest.raises(FormatError, match=r"code \d+ is outside 0\.\.9"):
        encode_corpus([melody(0)], {"units": Wrong()}, style_label="", shortest=10)
