"""Sound in memory and references to files."""

import numpy as np
import pytest

from stlm.errors import DataError
from stlm.types import Audio, AudioRef


@pytest.mark.parametrize("samples", [np.zeros(4), np.zeros(4, np.int16), np.zeros((2, 4), np.float32)])
def test_only_mono_float32_is_audio(samples: np.ndarray) -> None:
    with pytest.raises(DataError, match="float32"):
        Audio(samples=samples, sample_rate=16000)


def test_rates_and_places_must_make_sense() -> None:
    with pytest.raises(DataError, match="positive, got 0"):
        Audio(samples=np.zeros(1, np.float32), sample_rate=0)
    for wrong in ({"start": -1}, {"num_samples": -1}, {"sample_rate": 0}):
        with pytest.raises(DataError, match=r"a.wav"):
            AudioRef(**{"uri": "a.wav", "sample_rate": 16000, "num_samples": 10, **wrong})


def test_seconds_are_samples_by_rate() -> None:
    assert Audio(samples=np.zeros(4000, np.float32), sample_rate=16000).seconds == 0.25
    assert AudioRef(uri="a.wav", sample_rate=8000, num_samples=4000, start=100).seconds == 0.5
