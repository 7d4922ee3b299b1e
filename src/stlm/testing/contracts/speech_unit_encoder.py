"""Laws of `SpeechUnitEncoder`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from stlm.audio import resample
from stlm.interfaces import SpeechUnitEncoder
from stlm.testing.contracts.component import ComponentContract
from stlm.testing.factories import make_sounds
from stlm.types import Audio


class SpeechUnitEncoderContract(ComponentContract):
    """Subclass with a fixture ``encoder``.

    Optional: ``reload(directory)``, which loads what ``save`` wrote; a fixture ``sounds`` (a list of `Audio` at the
    encoder's own rate) where noise, tones and silence of up to 3 seconds do not suit.
    """

    kind: ClassVar[str] = "unit_encoder"

    @pytest.fixture
    def sounds(self, encoder: SpeechUnitEncoder) -> list[Audio]:
        return make_sounds(sample_rate=encoder.spec.sample_rate)

    def reload(self, directory: Path) -> SpeechUnitEncoder:
        pytest.skip("give reload(directory) to check that a saved encoder loads")

    def test_its_spec_is_sound(self, encoder: SpeechUnitEncoder) -> None:
        spec = encoder.spec
        assert spec.name and spec.fingerprint
        assert spec.sample_rate > 0 and spec.hop > 0 and spec.window > 0
        assert spec.codebook_sizes and all(0 < size <= 1 << 16 for size in spec.codebook_sizes)
        assert encoder.fingerprint == spec.fingerprint
        assert encoder.spec == spec

    def test_it_makes_as_many_frames_as_the_spec_promises(self, encoder: SpeechUnitEncoder) -> None:
        spec = encoder.spec
        edges = [spec.window + frames * spec.hop for frames in (0, 1, 2, 7)]
        lengths = sorted({max(0, edge + change) for edge in edges for change in (-1, 0, 1)} | {0, 1, spec.hop})
        noise = np.random.default_rng(0).normal(0, 0.1, max(lengths)).astype(np.float32)
        batch = [Audio(samples=noise[:length], sample_rate=spec.sample_rate) for length in lengths]
        assert [len(units) for units in encoder.encode(batch)] == [spec.num_frames(length) for length in lengths]

    def test_its_codes_lie_within_their_codebooks(self, encoder: SpeechUnitEncoder, sounds: list[Audio]) -> None:
        for units in encoder.encode(sounds):
            assert units.spec == encoder.spec
            assert units.codes.shape == (len(units), encoder.spec.num_codebooks)
            assert units.start == 0 and units.held is None
            units.check_range()

    def test_a_batch_gives_what_singles_give(self, encoder: SpeechUnitEncoder, sounds: list[Audio]) -> None:
        for together, sound in zip(encoder.encode(sounds), sounds, strict=True):
            (alone,) = encoder.encode([sound])
            np.testing.assert_array_equal(together.codes, alone.codes)

    def test_padding_changes_nothing(self, encoder: SpeechUnitEncoder, sounds: list[Audio]) -> None:
        """A short sound beside a long loud one, and the other way round."""
        rate = encoder.spec.sample_rate
        loud = Audio(samples=np.random.default_rng(1).uniform(-1, 1, 4 * rate).astype(np.float32), sample_rate=rate)
        for sound in sounds:
            (alone,) = encoder.encode([sound])
            for batch, place in (([sound, loud], 0), ([loud, sound], 1)):
                np.testing.assert_array_equal(encoder.encode(batch)[place].codes, alone.codes)

    def test_it_is_deterministic(self, encoder: SpeechUnitEncoder, sounds: list[Audio]) -> None:
        before = [sound.samples.copy() for sound in sounds]
        first, second = encoder.encode(sounds), encoder.encode(sounds)
        for one, two in zip(first, second, strict=True):
            np.testing.assert_array_equal(one.codes, two.codes)
        for sound, samples in zip(sounds, before, strict=True):
            np.testing.assert_array_equal(sound.samples, samples, err_msg="encode must not write into its input")

    def test_an_empty_batch_gives_no_units(self, encoder: SpeechUnitEncoder) -> None:
        assert encoder.encode([]) == []

    def test_audio_at_another_rate_is_resampled(self, encoder: SpeechUnitEncoder) -> None:
        for rate in (8000, 44100):
            sound = make_sounds(sample_rate=rate)[1]
            (got,) = encoder.encode([sound])
            resampled = resample(sound, encoder.spec.sample_rate)
            assert len(got) == encoder.spec.num_frames(resampled.num_samples)
            np.testing.assert_array_equal(got.codes, encoder.encode([resampled])[0].codes)

    def test_it_pickles(self, encoder: SpeechUnitEncoder, sounds: list[Audio]) -> None:
        again = pickle.loads(pickle.dumps(encoder))
        assert again.spec == encoder.spec
        for one, two in zip(encoder.encode(sounds), again.encode(sounds), strict=True):
            np.testing.assert_array_equal(one.codes, two.codes)

    def test_a_saved_encoder_loads_with_equal_units(
        self, encoder: SpeechUnitEncoder, sounds: list[Audio], tmp_path: Path
    ) -> None:
        encoder.save(tmp_path)
        again = self.reload(tmp_path)
        assert again.spec == encoder.spec
        for one, two in zip(encoder.encode(sounds), again.encode(sounds), strict=True):
            np.testing.assert_array_equal(one.codes, two.codes)
