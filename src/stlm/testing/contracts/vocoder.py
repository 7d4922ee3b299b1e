"""Laws of `Vocoder`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from stlm.errors import StlmError
from stlm.interfaces import Vocoder
from stlm.testing.contracts.component import ComponentContract
from stlm.types import AlignedUnits, Audio


class VocoderContract(ComponentContract):
    """Subclass with a fixture ``vocoder``.

    Set ``num_codes`` and ``num_codebooks`` if its streams have fewer than 8 codes or more than one codebook. Optional:
    ``reload(directory)``; a fixture ``units`` where random codes do not suit.
    """

    kind: ClassVar[str] = "vocoder"
    num_codes: ClassVar[int] = 8
    num_codebooks: ClassVar[int] = 1

    @pytest.fixture
    def units(self, vocoder: Vocoder) -> AlignedUnits:
        rng = np.random.default_rng(0)
        shape = (12, self.num_codebooks)
        return AlignedUnits(
            streams={name: rng.integers(0, self.num_codes, shape).astype(np.uint16) for name in vocoder.streams}
        )

    def reload(self, directory: Path) -> Vocoder:
        pytest.skip("give reload(directory) to check that a saved vocoder loads")

    def test_it_makes_audio_at_its_rate(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        audio = vocoder.synthesize(units)
        assert isinstance(audio, Audio)
        assert audio.sample_rate == vocoder.sample_rate and audio.num_samples > 0
        assert np.isfinite(audio.samples).all()

    def test_it_is_deterministic(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        one, two = vocoder.synthesize(units), vocoder.synthesize(units)
        np.testing.assert_array_equal(one.samples, two.samples)

    def test_no_rows_give_audio_of_no_samples(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        none = AlignedUnits(streams={name: codes[:0] for name, codes in units.streams.items()})
        for silent in (none, none.with_durations(np.zeros(0, np.int32))):
            audio = vocoder.synthesize(silent)
            assert audio.num_samples == 0 and audio.sample_rate == vocoder.sample_rate

    def test_durations_are_kept(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        """Twice the frames, and three times the frames, take so much longer; equal durations sound equal."""
        ones = np.ones(len(units), np.int32)
        lengths = [vocoder.synthesize(units.with_durations(ones * times)).num_samples for times in (1, 2, 3)]
        assert lengths[0] > 0
        assert lengths[1] - lengths[0] == lengths[2] - lengths[1] > 0

    def test_a_row_of_two_frames_is_two_rows_of_one(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        twice = AlignedUnits(streams={name: np.repeat(codes, 2, axis=0) for name, codes in units.streams.items()})
        long = units.with_durations(np.full(len(units), 2, np.int32))
        short = twice.with_durations(np.ones(len(twice), np.int32))
        np.testing.assert_array_equal(vocoder.synthesize(long).samples, vocoder.synthesize(short).samples)

    def test_streams_that_it_does_not_read_change_nothing(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        extra = np.arange(len(units), dtype=np.uint16)[:, None]
        more = AlignedUnits(streams={**units.streams, "a_stream_of_another_plugin": extra})
        np.testing.assert_array_equal(vocoder.synthesize(more).samples, vocoder.synthesize(units).samples)

    def test_a_missing_stream_is_an_error_of_stlm(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        assert vocoder.streams
        for name in vocoder.streams:
            rest = {other: codes for other, codes in units.streams.items() if other != name}
            strange = AlignedUnits(streams={**rest, f"not_{name}": units.streams[name]})
            with pytest.raises(StlmError, match=name):
                vocoder.synthesize(strange)

    def test_every_voice_and_style_can_be_named(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        for voice in vocoder.voices:
            assert vocoder.synthesize(units, voice=voice).num_samples > 0
        for style in vocoder.styles:
            assert vocoder.synthesize(units, style=style).num_samples > 0

    def test_an_unknown_voice_is_an_error_of_stlm(self, vocoder: Vocoder, units: AlignedUnits) -> None:
        if not vocoder.voices:
            pytest.skip("the vocoder has one voice")
        with pytest.raises(StlmError, match="nobody_is_called_this"):
            vocoder.synthesize(units, voice="nobody_is_called_this")

    def test_a_saved_vocoder_loads_with_equal_sound(
        self, vocoder: Vocoder, units: AlignedUnits, tmp_path: Path
    ) -> None:
        vocoder.save(tmp_path)
        again = self.reload(tmp_path)
        assert again.streams == vocoder.streams and again.sample_rate == vocoder.sample_rate
        np.testing.assert_array_equal(again.synthesize(units).samples, vocoder.synthesize(units).samples)
