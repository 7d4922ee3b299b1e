"""Utterances to utterances with units: in order, in batches of one length, read while others are encoded."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from stlm.prepare import Limits, encode_utterances
from stlm.testing.fakes import EnergyEncoder
from stlm.types import Audio, AudioRef, Rejected, Utterance

RATE = 16000


def spoken(index: int, seconds: float) -> Utterance:
    samples = np.random.default_rng(index).normal(0, 0.1, int(RATE * seconds)).astype(np.float32)
    return Utterance(id=str(index), audio=Audio(samples=samples, sample_rate=RATE))


class Watched(EnergyEncoder):
    """Remembers how long the sounds of each batch were."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[float]] = []

    def encode(self, batch: Sequence[Audio]):
        self.batches.append([audio.seconds for audio in batch])
        return super().encode(batch)


LENGTHS = [0.1 * (1 + (7 * index) % 10) for index in range(50)]


def test_what_comes_out_is_in_the_order_of_what_went_in() -> None:
    stream = [spoken(index, seconds) for index, seconds in enumerate(LENGTHS)]
    stream.insert(3, Utterance(id="text", text="no sound"))
    stream.insert(9, Rejected(id="bad", reason="x"))
    found = list(encode_utterances(stream, [EnergyEncoder()], Limits(utterances=4)))
    assert [item.id for item in found] == [item.id for item in stream]
    for item in found:
        if isinstance(item, Utterance) and item.audio is not None:
            (alone,) = EnergyEncoder().encode([item.audio])
            np.testing.assert_array_equal(item.streams["energy"].codes, alone.codes)


def test_a_batch_holds_sounds_of_about_one_length_and_no_more_than_its_limits() -> None:
    encoder = Watched()
    list(encode_utterances([spoken(i, s) for i, s in enumerate(LENGTHS)], [encoder], Limits(utterances=5, seconds=2.5)))
    assert sum(map(len, encoder.batches)) == len(LENGTHS)
    assert all(len(batch) <= 5 and (sum(batch) <= 2.5 + 1e-9 or len(batch) == 1) for batch in encoder.batches)
    spread = np.mean([max(batch) - min(batch) for batch in encoder.batches])
    assert spread < 0.25, "in the order of arrival it is 0.6 s"


def test_sounds_are_read_while_others_are_encoded() -> None:
    """The encoder waits until the next pool has been read: without a reader of its own that would never be."""
    read_further = threading.Event()

    def stream():
        for index in range(8):
            yield spoken(index, 0.2)
        read_further.set()
        yield spoken(8, 0.2)

    class Waiting(EnergyEncoder):
        def encode(self, batch):
            assert read_further.wait(timeout=20)
            return super().encode(batch)

    assert len(list(encode_utterances(stream(), [Waiting()], Limits(utterances=1)))) == 9


def test_what_is_too_long_is_rejected_unread() -> None:
    there = AudioRef(uri="never-opened.wav", sample_rate=RATE, num_samples=RATE * 3 * 3600)
    good = spoken(0, 0.2)
    found = list(encode_utterances([Utterance(id="opera", audio=there), good], [EnergyEncoder()], Limits()))
    assert isinstance(found[0], Rejected) and isinstance(found[1], Utterance)
    assert found[0].reason == (
        "opera: lasts 10800 s, expected at most 3600: cut it by a stage such as split, or raise longest"
    )


def test_several_readers_change_nothing() -> None:
    stream = [spoken(index, seconds) for index, seconds in enumerate(LENGTHS)]
    one, four = (list(encode_utterances(stream, [EnergyEncoder()], Limits(readers=n))) for n in (1, 4))
    for a, b in zip(one, four, strict=True):
        assert a.id == b.id
        np.testing.assert_array_equal(a.streams["energy"].codes, b.streams["energy"].codes)


def test_each_encoder_hears_its_own_rate() -> None:
    class At8(EnergyEncoder):
        heard: set[int] = set()  # noqa: RUF012

        def encode(self, batch):
            self.heard |= {audio.sample_rate for audio in batch}
            return super().encode(batch)

    encoder = At8()
    audio = Audio(samples=np.zeros(44100, np.float32), sample_rate=44100)
    (found,) = encode_utterances([Utterance(id="a", audio=audio)], [encoder], Limits())
    assert encoder.heard == {encoder.spec.sample_rate}
    assert len(found.streams["energy"]) == encoder.spec.num_frames(encoder.spec.sample_rate)


def test_an_error_while_reading_reaches_the_caller() -> None:
    def stream():
        yield spoken(0, 0.2)
        raise ZeroDivisionError("a fault of the program, not of a file")

    with pytest.raises(ZeroDivisionError):
        list(encode_utterances(stream(), [EnergyEncoder()], Limits()))
